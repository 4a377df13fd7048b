package seccomp

// Eval runs the filter in user space and returns what the kernel would do with the call.
func (f *Filter) Eval(d Data) Action {
	a, _ := f.EvalSteps(d)
	return a
}

// EvalSteps is Eval, and counts the instructions that ran: what the call would pay for the filter.
func (f *Filter) EvalSteps(d Data) (a Action, steps int) {
	ret, steps := f.run(&d)
	return actionOf(ret), steps
}

// run interprets the program. Preconditions: NewFilter checked it, so that every jump goes forward
// and within, and every path ends in a return.
func (f *Filter) run(d *Data) (ret uint32, steps int) {
	var a, x uint32
	var mem [memoryWords]uint32
	for pc := 0; pc < len(f.insns); pc++ {
		in := &f.insns[pc]
		steps++
		switch in.Code {
		case opLoad:
			a = d.word(in.K)
		case opLoadLen:
			a = dataSize
		case opLoadXLen:
			x = dataSize
		case opLoadImm:
			a = in.K
		case opLoadXImm:
			x = in.K
		case opLoadMem:
			a = mem[in.K]
		case opLoadXMem:
			x = mem[in.K]
		case opStore:
			mem[in.K] = a
		case opStoreX:
			mem[in.K] = x
		case opCopyToX:
			x = a
		case opCopyFromX:
			a = x
		case opNegate:
			a = -a
		case opReturn:
			return in.K, steps
		case opReturnA:
			return a, steps
		case opJump:
			pc += int(in.K)
		default:
			operand := in.K
			if in.Code&sourceX != 0 {
				operand = x
			}
			if in.Code&classMask == classJMP {
				pc += in.branch(a, operand)
				continue
			}
			if in.Code&aluOperation == aluDiv && operand == 0 {
				return 0, steps // the kernel ends the program here, with 0
			}
			a = in.calculate(a, operand)
		}
	}
	return retKillProcess, steps // only the zero Filter gets here
}

// branch returns how many instructions a conditional jump skips.
func (in *Instruction) branch(a, operand uint32) int {
	holds := false
	switch in.Code &^ sourceX {
	case jumpEqual:
		holds = a == operand
	case jumpGreater:
		holds = a > operand
	case jumpGreaterEqual:
		holds = a >= operand
	case jumpSet:
		holds = a&operand != 0
	}
	if holds {
		return int(in.JT)
	}
	return int(in.JF)
}

// calculate returns the result of an operation of class ALU. Preconditions: no division by zero.
func (in *Instruction) calculate(a, operand uint32) uint32 {
	switch in.Code & aluOperation {
	case aluAdd:
		return a + operand
	case aluSub:
		return a - operand
	case aluMul:
		return a * operand
	case aluDiv:
		return a / operand
	case aluOr:
		return a | operand
	case aluAnd:
		return a & operand
	case aluLsh: // a count from a register is taken modulo 32
		return a << (operand & 31)
	case aluRsh:
		return a >> (operand & 31)
	}
	return a ^ operand
}

// word returns the 32 bits at an offset of struct seccomp_data on a little-endian machine.
func (d *Data) word(offset uint32) uint32 {
	switch offset {
	case 0:
		return uint32(d.Nr)
	case 4:
		return d.Arch
	case 8:
		return uint32(d.InstructionPointer)
	case 12:
		return uint32(d.InstructionPointer >> 32)
	}
	arg := d.Args[(offset-16)/8]
	if offset%8 == 0 {
		return uint32(arg)
	}
	return uint32(arg >> 32)
}
