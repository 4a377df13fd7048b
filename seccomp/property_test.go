package seccomp

import (
	"github.com/ringfence-go/ringfence/internal/kernel"
	"math/rand/v2"
	"testing"
)

func TestFiltersDecideAsTheirPolicies(t *testing.T) {
	names := []string{}
	for i := range kernel.AMD64.Len() {
		_, n := kernel.AMD64.At(i)
		names = append(names, n)
	}
	acts := []Action{Allow, KillProcess, Errno(1), Log, Trap, Errno(5)}
	vals := []uint64{0, 1, 2, 3, 0xffffffff, 0x100000000, 0x100000001, ^uint64(0), 1 << 63, 5}
	for seed := uint64(0); seed < 3000; seed++ {
		r := rand.New(rand.NewPCG(seed, 1))
		p := &Policy{Default: acts[r.IntN(len(acts))]}
		sub := names
		if r.IntN(2) == 0 {
			sub = names[:20]
		}
		for n := r.IntN(40); n >= 0; n-- {
			ru := Rule{Action: acts[r.IntN(len(acts))]}
			for k := r.IntN(6); k >= 0; k-- {
				ru.Names = append(ru.Names, sub[r.IntN(len(sub))])
			}
			for k := r.IntN(4); k > 0; k-- {
				a := Arg{Index: r.IntN(2), Op: Op(1 + r.IntN(6)), Value: vals[r.IntN(len(vals))]}
				if r.IntN(2) == 0 {
					a.Mask = vals[r.IntN(len(vals))]
					if a.Mask != 0 {
						a.Value &= a.Mask
					}
				}
				ru.Args = append(ru.Args, a)
			}
			p.Rules = append(p.Rules, ru)
		}
		archs := [][]string{{"amd64"}, {"arm64"}, {"amd64", "386"}, {"x32", "amd64"}, {"x32"}, {"386", "amd64", "x32", "arm", "arm64"}}[r.IntN(6)]
		f, err := p.Compile(archs...)
		if err != nil {
			t.Fatal(err)
		}
		for k := 0; k < 600; k++ {
			d := Data{Nr: int32(r.IntN(500)), Arch: kernel.Archs()[r.IntN(5)].AuditArch()}
			switch r.IntN(10) {
			case 0:
				d.Nr |= 0x40000000
			case 1:
				d.Nr = -1
			case 2:
				d.Nr = int32(r.Uint32())
			}
			if r.IntN(2) == 0 {
				d.Nr = int32(r.IntN(20))
			}
			for i := range d.Args {
				d.Args[i] = vals[r.IntN(len(vals))] + uint64(r.IntN(3)) - 1
			}
			if a, b := f.Eval(d), p.Decide(d, archs...); a != b {
				t.Fatal(seed, d, a, b, archs)
			}
		}
	}
}
