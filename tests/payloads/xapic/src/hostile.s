# What a guest should not do, and may. A probe leaves AL = 1 where its local APIC is as it should be afterwards.

.section .image, "awx", @progbits
.code32

# Off and on again: the state after a reset. Then task priority and timer must work.
recover:
    mov ecx, 0x1b
    rdmsr
    and eax, 0xfffff7ff
    wrmsr
    or eax, 0x800
    wrmsr
    mov dword ptr [SVR], 0x1ff
    mov dword ptr [LDR], 0x01000000
    jmp alone

# CPU-17, before VP 1 is started and with interrupts off: nothing of it is ever taken.
abuse:
    cli
    # An error entry with an illegal vector, and errors without end: sent, received, at no register.
    mov dword ptr [LVT_ERROR], 5
    mov ecx, 3000
abuse_errors:
    mov dword ptr [ICR], 0x4400f
    mov dword ptr [ICR], 0x40000
    mov eax, dword ptr [APIC + 0x400]
    mov dword ptr [APIC], ecx
    mov dword ptr [ESR], ecx
    loop abuse_errors
    # A periodic timer of one tick, at every vector, illegal ones first.
    mov dword ptr [DIVIDE], 0xb
    xor ebx, ebx
abuse_timer:
    lea eax, [ebx + 0x20000]
    mov dword ptr [LVT_TIMER], eax
    mov dword ptr [INITIAL], 1
    mov ecx, 100
abuse_ticks:
    pause
    loop abuse_ticks
    inc ebx
    cmp ebx, 256
    jb abuse_timer
    # Anything, anywhere. Only modes from NMI up are left out: a guest that stops itself proves nothing.
    mov ebx, 12345
    mov ebp, 20000
abuse_any:
    imul ebx, ebx, 1664525
    add ebx, 1013904223
    mov edi, ebx
    shr edi, 22
    and edi, 0x3f0
    imul ebx, ebx, 1664525
    add ebx, 1013904223
    mov eax, ebx
    ror eax, 13
    cmp edi, 0x300
    jne abuse_write
    and eax, 0xfffffbff
abuse_write:
    mov dword ptr [APIC + edi], eax
    mov eax, dword ptr [APIC + edi]
    dec ebp
    jnz abuse_any
    jmp recover

# CPU-13: accesses of other sizes, beside a register's place, and across the page's ends. None changes a register.
odd:
    cli
    mov dword ptr [TPR], 0x20
    mov edi, TPR
    mov eax, 0xffffffff
    mov byte ptr [edi], al
    mov word ptr [edi], ax
    mov byte ptr [edi + 1], al
    mov dword ptr [edi + 1], eax
    mov dword ptr [edi + 3], eax
    mov dword ptr [edi + 4], eax
    mov word ptr [edi - 1], ax
    mov cl, byte ptr [edi]
    mov cx, word ptr [edi + 2]
    mov ecx, dword ptr [edi + 2]
    mov ecx, dword ptr [edi - 2]
    mov dword ptr [APIC + 0xffe], eax
    mov ecx, dword ptr [APIC + 0xffe]
    mov dword ptr [APIC - 2], eax
    mov ecx, dword ptr [APIC - 2]
    mov eax, dword ptr [TPR]
    cmp eax, 0x20
    jne odd_bad
    mov dword ptr [TPR], 0
    jmp alone
odd_bad:
    xor eax, eax
    ret

# CPU-13: it reads and writes, and nobody does that for a guest.
other:
    or dword ptr [TPR], 0x10
    mov al, 0
    ret

# CPU-12: VP 1 turns the store into a load and back while VP 0 executes it.
race:
    call start_second
    test al, al
    jz race_end
    mov esi, offset name_still
    call is_asked
    mov dword ptr [racing], 1
    jnc race_wake
    mov dword ptr [racing], 2
race_wake:
    mov dword ptr [ICR_HIGH], 0x01000000
    mov dword ptr [ICR], 0x4000 + COUNT
    mov edi, TPR
    mov ebx, 2000
    xor ebp, ebp
race_again:
    mov dword ptr [TPR], 0
    mov eax, 0x30
    .balign 4
raced:
    mov dword ptr [edi], eax
    # Either it was a store of 30h, or a load of zero. Nothing else ever.
    mov ecx, dword ptr [TPR]
    cmp ecx, 0x30
    je race_stored
    or ecx, eax
    jnz race_bad
    jmp race_next
race_stored:
    cmp eax, 0x30
    jne race_bad
    inc ebp
race_next:
    dec ebx
    jnz race_again
    # Undisturbed, each was a store.
    mov al, 1
    cmp dword ptr [racing], 2
    jne race_end
    cmp ebp, 2000
    sete al
race_end:
    mov dword ptr [racing], 0
    mov dword ptr [TPR], 0
    ret
race_bad:
    xor eax, eax
    jmp race_end

second_races:
    sti
    cmp dword ptr [racing], 2
    je second_repeats
    mov byte ptr [raced], 0x8b
second_repeats:
    mov byte ptr [raced], 0x89
    jmp second_idle

image_end:
.text
.code64
