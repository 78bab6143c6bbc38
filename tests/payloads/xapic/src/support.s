# Console, command line, interrupts, waiting. Whatever is called may change EAX, ECX, EDX, ESI and EDI.

.section .image, "awx", @progbits
.code32

# Prints the string at ESI.
print:
    lodsb
    test al, al
    jz print_end
    mov ah, al
    mov dx, 0x3fd
print_wait:
    in al, dx
    test al, 0x20
    jz print_wait
    mov dx, 0x3f8
    mov al, ah
    out dx, al
    jmp print
print_end:
    ret

# Prints AL in hexadecimal.
print_byte:
    mov ecx, eax
    shr eax, 4
    call digit
    mov byte ptr [digits], al
    mov eax, ecx
    call digit
    mov byte ptr [digits + 1], al
    mov esi, offset digits
    jmp print
digit:
    and eax, 15
    mov al, byte ptr [all_digits + eax]
    ret

# The probe with the name at ESI was good, AL = 1, or not.
report:
    push eax
    push esi
    mov esi, offset text_begin
    call print
    pop esi
    call print
    pop eax
    mov esi, offset text_good
    test al, al
    jnz report_text
    mov byte ptr [failed], 1
    mov esi, offset text_bad
report_text:
    jmp print

# Whether the word at ESI is in the command line: carry.
is_asked:
    mov edi, dword ptr [information]
    test dword ptr [edi], 4
    jz is_asked_no
    mov edi, dword ptr [edi + 16]
is_asked_here:
    mov edx, edi
    mov ecx, esi
is_asked_letter:
    mov al, byte ptr [ecx]
    test al, al
    jz is_asked_yes
    cmp al, byte ptr [edx]
    jne is_asked_next
    inc ecx
    inc edx
    jmp is_asked_letter
is_asked_next:
    cmp byte ptr [edi], 0
    je is_asked_no
    inc edi
    jmp is_asked_here
is_asked_yes:
    stc
    ret
is_asked_no:
    clc
    ret

# Waits until the number at EDI is at least EBX: AL = 1. Else AL = 0, after some seconds.
wait_for:
    rdtsc
    mov esi, edx
    add esi, 2
wait_again:
    cmp dword ptr [edi], ebx
    jae wait_good
    pause
    rdtsc
    cmp edx, esi
    jb wait_again
    xor eax, eax
    ret
wait_good:
    mov eax, 1
    ret

# EDI = where the interrupts with vector ECX are counted that came to VP EAX.
count_of:
    lea edi, [counts + ecx * 8]
    lea edi, [edi + eax * 4]
    ret

fill_idt:
    mov edi, offset idt
    mov eax, offset stubs
    mov ecx, 256
fill_next:
    mov word ptr [edi], ax
    mov word ptr [edi + 2], 8
    mov word ptr [edi + 4], 0x8e00
    mov edx, eax
    shr edx, 16
    mov word ptr [edi + 6], dx
    add eax, 16
    add edi, 8
    loop fill_next
    ret

# An exception that nobody expects ends the guest.
exception:
    cmp dword ptr [esp], 2
    je non_maskable
    mov esi, offset text_exception
    call print
    pop eax
    call print_byte
    mov esi, offset text_line
    call print
    mov al, 1
    jmp end_with

non_maskable:
    push eax
    mov eax, dword ptr [ID]
    shr eax, 24
    lock inc dword ptr [counts + 2 * 8 + eax * 4]
    pop eax
    add esp, 4
    iretd

# Counts, answers, and ends the interrupt; its bit in ISR must be set meanwhile.
interrupt:
    pushad
    mov ecx, dword ptr [esp + 32]
    mov eax, dword ptr [ID]
    shr eax, 24
    call count_of
    lock inc dword ptr [edi]
    cmp ecx, 0xff
    je interrupt_end
    mov edx, ecx
    shr edx, 5
    shl edx, 4
    mov edx, dword ptr [ISR + edx]
    bt edx, ecx
    jc in_service
    mov byte ptr [failed], 1
in_service:
    cmp ecx, ASK
    jne interrupt_acknowledge
    mov dword ptr [ICR_HIGH], 0
    mov dword ptr [ICR], 0x4000 + ANSWER
interrupt_acknowledge:
    mov dword ptr [EOI], 0
interrupt_end:
    popad
    add esp, 4
    iretd

.balign 16
stubs:
.set vector, 0
.rept 256
    .byte 0x68
    .long vector
    .if vector < 32
    jmp exception
    .else
    jmp interrupt
    .endif
    .balign 16
    .set vector, vector + 1
.endr

text_begin: .asciz "xapic: "
text_good: .asciz " ok\n"
text_bad: .asciz " FAIL\n"
text_exception: .asciz "xapic: exception "
text_line: .asciz "\n"
all_digits: .ascii "0123456789abcdef"
digits: .byte 0, 0, 0
failed: .byte 0

.balign 8
information: .long 0
second_id: .long 0
racing: .long 0
idt: .zero 2048
counts: .zero 2048
.balign 16
.zero 8192
stack_end:
.zero 4096
second_stack_end:
