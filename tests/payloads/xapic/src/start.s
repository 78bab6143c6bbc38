# Multiboot Specification 0.6.96, 3.1 "OS image format": by addresses, because the file is an ELF file of 64 bits.

.set APIC, 0xfee00000
.set ID, APIC + 0x20
.set TPR, APIC + 0x80
.set PPR, APIC + 0xa0
.set EOI, APIC + 0xb0
.set LDR, APIC + 0xd0
.set DFR, APIC + 0xe0
.set SVR, APIC + 0xf0
.set ISR, APIC + 0x100
.set IRR, APIC + 0x200
.set ESR, APIC + 0x280
.set ICR, APIC + 0x300
.set ICR_HIGH, APIC + 0x310
.set LVT_TIMER, APIC + 0x320
.set LVT_ERROR, APIC + 0x370
.set INITIAL, APIC + 0x380
.set CURRENT, APIC + 0x390
.set DIVIDE, APIC + 0x3e0

# Vectors: what VP 0 gets as an answer, what asks VP 1 for one, what is only counted, and what the timer raises.
.set ANSWER, 0x50
.set ASK, 0x51
.set COUNT, 0x62
.set TICK, 0x40
# Where VP 1 begins.
.set TRAMPOLINE, 0x8000

.section .image, "awx", @progbits
.code32
.balign 4096
image_start:
header:
    .long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003)
    .long header, image_start, image_end, 0, start

.globl _start
_start:
start:
    cli
    cld
    mov esp, offset stack_end
    mov dword ptr [information], ebx
    cmp eax, 0x2badb002
    jne not_multiboot
    lgdt [gdt_pointer]
    .byte 0xea
    .long in_own_segments
    .word 8
in_own_segments:
    call load_segments
    call fill_idt
    lidt [idt_pointer]
    mov ecx, 0x1b
    rdmsr
    and eax, 0xc00
    cmp eax, 0x800
    sete al
    mov esi, offset name_mode
    call report
    mov dword ptr [SVR], 0x1ff
    mov dword ptr [LDR], 0x01000000
    mov eax, dword ptr [ID]
    test eax, eax
    setz al
    mov esi, offset name_identity
    call report
    mov ebx, offset probes
next_probe:
    mov esi, dword ptr [ebx]
    test esi, esi
    jz finish
    call is_asked
    jnc skip_probe
    push ebx
    call dword ptr [ebx + 4]
    pop ebx
    mov esi, dword ptr [ebx]
    call report
skip_probe:
    add ebx, 8
    jmp next_probe

not_multiboot:
    mov byte ptr [failed], 1
finish:
    mov al, byte ptr [failed]
end_with:
    out 0xf4, al
halt:
    cli
    hlt
    jmp halt

load_segments:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov ax, 24
    mov gs, ax
    ret

# Copied to the first MiB, 64 bytes of it; a processor begins there in real mode.
.code16
trampoline:
    cli
    .byte 0x2e, 0x66, 0x0f, 0x01, 0x16
    .word trampoline_gdt - trampoline
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long second
    .word 8
trampoline_gdt:
    .word 31
    .long gdt

.code32
second:
    call load_segments
    mov esp, offset second_stack_end
    lidt [idt_pointer]
    mov dword ptr [SVR], 0x1ff
    mov dword ptr [LDR], 0x02000000
    mov eax, dword ptr [ID]
    shr eax, 24
    mov dword ptr [second_id], eax
second_idle:
    cmp dword ptr [racing], 0
    jne second_races
    sti
    hlt
    jmp second_idle

.balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    # Data whose segment begins at the local APIC.
    .quad 0xfecf93e00000ffff
gdt_pointer:
    .word 31
    .long gdt
idt_pointer:
    .word 2047
    .long idt

probes:
    .long name_pair, pair, name_alone, alone, name_forms, forms, name_abuse, abuse, name_odd, odd
    .long name_other, other, name_race, race, 0

name_mode: .asciz "mode"
name_identity: .asciz "identity"
name_pair: .asciz "pair"
name_alone: .asciz "alone"
name_forms: .asciz "forms"
name_abuse: .asciz "abuse"
name_odd: .asciz "odd"
name_other: .asciz "other"
name_race: .asciz "race"
name_still: .asciz "still"
