# What a well-behaved guest does. A probe leaves AL = 1 where it is content.

.section .image, "awx", @progbits
.code32

# Starts VP 1, unless it runs: AL = 1.
start_second:
    cmp dword ptr [second_id], 0
    jne start_good
    mov esi, offset trampoline
    mov edi, TRAMPOLINE
    mov ecx, 64
    rep movsb
    mov dword ptr [ICR_HIGH], 0x01000000
    mov dword ptr [ICR], 0xc500
    mov dword ptr [ICR], 0x8500
    mov dword ptr [ICR], 0x4600 + TRAMPOLINE / 4096
    push ebx
    mov edi, offset second_id
    mov ebx, 1
    call wait_for
    pop ebx
    ret
start_good:
    mov eax, 1
    ret

# Sends the command EDX to the destination EAX, and waits until VP ECX >> 8 has one more of vector CL: AL = 1.
send:
    push ebx
    push eax
    push edx
    mov eax, ecx
    movzx ecx, cl
    shr eax, 8
    call count_of
    mov ebx, dword ptr [edi]
    inc ebx
    pop edx
    pop eax
    mov dword ptr [ICR_HIGH], eax
    mov dword ptr [ICR], edx
    call wait_for
    pop ebx
    ret

pair:
    call start_second
    test al, al
    jz pair_end
    sti
    # A hundred questions, one after the other.
    mov ebx, 100
pair_ask:
    mov eax, 0x01000000
    mov edx, 0x4000 + ASK
    mov ecx, ANSWER
    call send
    test al, al
    jz pair_end
    dec ebx
    jnz pair_ask
    # Logical names 1 and 2 in the flat model: one, the other, both.
    mov eax, 0x02000000
    mov edx, 0x4800 + COUNT
    mov ecx, 0x100 + COUNT
    call send
    test al, al
    jz pair_end
    mov eax, 0x01000000
    mov edx, 0x4800 + COUNT
    mov ecx, COUNT
    call send
    test al, al
    jz pair_end
    mov eax, 0x03000000
    mov edx, 0x4800 + COUNT
    mov ecx, 0x100 + COUNT
    call send
    test al, al
    jz pair_end
    # All but itself, all, itself, an NMI.
    mov edx, 0xc4000 + COUNT
    mov ecx, 0x100 + COUNT
    call send
    test al, al
    jz pair_end
    mov edx, 0x84000 + COUNT
    mov ecx, 0x100 + COUNT
    call send
    test al, al
    jz pair_end
    mov edx, 0x44000 + COUNT
    mov ecx, COUNT
    call send
    test al, al
    jz pair_end
    mov eax, 0x01000000
    mov edx, 0x4400
    mov ecx, 0x102
    call send
    test al, al
    jz pair_end
    # To VP 0: its own name, both, all, itself. To VP 1: its own name, both, all but the other, all.
    cmp dword ptr [counts + COUNT * 8], 4
    jne pair_bad
    cmp dword ptr [counts + COUNT * 8 + 4], 4
    jne pair_bad
    cmp dword ptr [counts + ASK * 8 + 4], 100
    jne pair_bad
    mov al, 1
    jmp pair_end
pair_bad:
    xor eax, eax
pair_end:
    cli
    ret

alone:
    cli
    call priority
    test al, al
    jz alone_end
    call timer
alone_end:
    cli
    ret

# Task priority 6 holds vector 62h back; IRR shows it, PPR says why.
priority:
    mov dword ptr [TPR], 0x65
    mov eax, dword ptr [TPR]
    cmp eax, 0x65
    jne priority_bad
    mov edx, dword ptr [counts + COUNT * 8]
    mov dword ptr [ICR], 0x44000 + COUNT
    sti
    mov ecx, 1000
priority_spin:
    pause
    loop priority_spin
    cli
    cmp dword ptr [counts + COUNT * 8], edx
    jne priority_bad
    mov eax, dword ptr [IRR + (COUNT >> 5) * 16]
    bt eax, COUNT & 31
    jnc priority_bad
    mov eax, dword ptr [PPR]
    cmp eax, 0x65
    jne priority_bad
    lea ebx, [edx + 1]
    mov dword ptr [TPR], 0x50
    sti
    mov edi, offset counts + COUNT * 8
    call wait_for
    mov dword ptr [TPR], 0
    ret
priority_bad:
    mov dword ptr [TPR], 0
    xor eax, eax
    ret

# Ten ticks of a periodic timer, then one more of a one-shot, which then stands still.
timer:
    mov dword ptr [DIVIDE], 0xb
    mov ebx, dword ptr [counts + TICK * 8]
    add ebx, 10
    mov dword ptr [LVT_TIMER], 0x20000 + TICK
    mov dword ptr [INITIAL], 20000
    sti
    mov edi, offset counts + TICK * 8
    call wait_for
    cli
    mov dword ptr [INITIAL], 0
    test al, al
    jz timer_end
    # One may have come between the last look and the end.
    sti
    nop
    cli
    mov ebx, dword ptr [counts + TICK * 8]
    inc ebx
    mov dword ptr [LVT_TIMER], TICK
    mov dword ptr [INITIAL], 20000
    sti
    mov edi, offset counts + TICK * 8
    call wait_for
    test al, al
    jz timer_end
    mov eax, dword ptr [CURRENT]
    test eax, eax
    setz al
timer_end:
    cli
    mov dword ptr [LVT_TIMER], 0x10000
    ret

# Writes 10h, 20h ... to the task priority in each encoding, and reads it back in each.
forms:
    mov edi, TPR
    mov eax, 0x10
    .byte 0xa3
    .long TPR
    xor eax, eax
    .byte 0xa1
    .long TPR
    cmp eax, 0x10
    jne forms_bad
    mov ebx, 0x20
    mov dword ptr [edi], ebx
    mov ecx, dword ptr [edi]
    cmp ecx, 0x20
    jne forms_bad
    # SIB and a displacement of 8 and of 32 bits.
    lea esi, [edi - 0x40]
    mov edx, 0x10
    mov dword ptr [esi + edx * 4], 0x30
    mov ebp, dword ptr [edi + edx - 0x10]
    cmp ebp, 0x30
    jne forms_bad
    mov edx, 0x40
    mov dword ptr [edx + TPR - 0x40], edx
    mov edx, dword ptr [edx + TPR - 0x40]
    cmp edx, 0x40
    jne forms_bad
    # By a segment that begins at the registers, with 16-bit addresses: mov gs:[si], edx; mov eax, gs:[bx + 0x20]
    mov esi, 0x80
    mov edx, 0x50
    .byte 0x65, 0x67, 0x89, 0x14
    mov ebx, 0x60
    .byte 0x65, 0x67, 0x8b, 0x47, 0x20
    cmp eax, 0x50
    jne forms_bad
    # The longest instruction, four prefixes that mean nothing, across the end of a page.
    jmp longest
longest_end:
    mov esi, dword ptr [TPR]
    cmp esi, 0x77
    jne forms_bad
    mov dword ptr [TPR], 0
    mov al, 1
    ret
forms_bad:
    mov dword ptr [TPR], 0
    xor eax, eax
    ret

.balign 4096
.zero 4096 - 12
longest:
    mov ecx, 0x10
    .byte 0x3e, 0x3e, 0x3e, 0x3e
    .byte 0xc7, 0x84, 0x8f
    .long -0x40, 0x77
    jmp longest_end
