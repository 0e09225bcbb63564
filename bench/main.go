package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// measure is one line of what is promised: contenders that do the same work.
type measure struct {
	name       string
	what       string
	unit       string // "ms", "bytes"
	contenders []contender
	judge      func(m measure, rounds []map[string]float64) verdict
}

// contender does the work once, in a fresh process, and returns the figure.
type contender struct {
	name string
	run  func() (float64, error)
}

// verdict is what the rounds say about the target.
type verdict struct {
	text string
	ok   bool
}

func main() {
	beServer()
	beWorker()
	rounds := flag.Int("rounds", 5, "how often each contender is measured")
	one := flag.String("one", "", "run one contender (measure/contender) and print its figure; used by the program itself")
	profile := flag.String("profile", "", "with -one: write a profile of the processor's time to this file")
	quick := flag.Bool("quick", false, "a hundredth of the load, to see that everything works; targets are not judged")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: bench [flags] [measure ...]\n\nmeasures:\n")
		for _, m := range measures {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-8s %s\n", m.name, m.what)
		}
		flag.PrintDefaults()
	}
	flag.Parse()
	if *quick {
		load = 100
	}
	if *one != "" {
		os.Exit(profiled(*profile, func() int { return runOne(*one) }))
	}
	fmt.Printf("%s %s/%s, GOMAXPROCS %d, %d rounds, medians\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), *rounds)
	code := 0
	for _, m := range measures {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), m.name) {
			continue
		}
		if err := m.report(*rounds, *quick, &code); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(code)
}

// load divides the sizes of all measures.
var load = 1

// report runs a measure and prints its table.
func (m measure) report(rounds int, quick bool, code *int) error {
	fmt.Printf("\n%s\n", m.what)
	figures := make([]map[string]float64, rounds)
	for i := range figures {
		figures[i] = map[string]float64{}
		for _, c := range m.contenders {
			v, err := inProcess(m.name+"/"+c.name, quick)
			if err != nil {
				return err
			}
			figures[i][c.name] = v
		}
	}
	for _, c := range m.contenders {
		vs := column(figures, c.name)
		fmt.Printf("  %-22s %10.1f %-5s (%.1f to %.1f)\n", c.name, median(vs), m.unit, slices.Min(vs), slices.Max(vs))
	}
	v := m.judge(m, figures)
	word := "reached"
	switch {
	case quick:
		word = "not judged"
	case !v.ok:
		word = "MISSED"
		*code = 1
	}
	fmt.Printf("  %s: %s\n", v.text, word)
	return nil
}

// inProcess measures one contender in a process of its own.
func inProcess(which string, quick bool) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	args := []string{"-one", which}
	if quick {
		args = append(args, "-quick")
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", which, err)
	}
	var figure float64
	if err := json.Unmarshal(out, &figure); err != nil {
		return 0, fmt.Errorf("%s printed %q: %w", which, out, err)
	}
	return figure, nil
}

func profiled(file string, run func() int) int {
	if file == "" {
		return run()
	}
	f, err := os.Create(file)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer f.Close()
	defer pprof.StopCPUProfile()
	return run()
}

func runOne(which string) int {
	name, contenderName, _ := strings.Cut(which, "/")
	for _, m := range measures {
		for _, c := range m.contenders {
			if m.name != name || c.name != contenderName {
				continue
			}
			v, err := c.run()
			if err != nil {
				fmt.Fprintln(os.Stderr, which+":", err)
				return 2
			}
			fmt.Println(v)
			return 0
		}
	}
	fmt.Fprintln(os.Stderr, "no such contender:", which)
	return 2
}

// ratioAtMost compares the first contender with the second one, round by round, and ratioAtLeast
// does so where more is better.
func ratioAtMost(target float64) func(measure, []map[string]float64) verdict {
	return ratio(target, "most", func(r float64) bool { return r <= target })
}

func ratioAtLeast(target float64) func(measure, []map[string]float64) verdict {
	return ratio(target, "least", func(r float64) bool { return r >= target })
}

func ratio(target float64, bound string, ok func(float64) bool) func(measure, []map[string]float64) verdict {
	return func(m measure, rounds []map[string]float64) verdict {
		ours, theirs := m.contenders[0].name, m.contenders[1].name
		var ratios []float64
		for _, r := range rounds {
			ratios = append(ratios, r[ours]/r[theirs])
		}
		r := median(ratios)
		return verdict{fmt.Sprintf("%s is %.2f x %s (%.2f to %.2f), at %s %.1f x wanted", ours, r, theirs, slices.Min(ratios), slices.Max(ratios), bound, target), ok(r)}
	}
}

// atMost judges the figure of the first contender alone.
func atMost(target float64) func(measure, []map[string]float64) verdict {
	return func(m measure, rounds []map[string]float64) verdict {
		v := median(column(rounds, m.contenders[0].name))
		return verdict{fmt.Sprintf("%s takes %.1f %s, at most %.0f wanted", m.contenders[0].name, v, m.unit, target), v <= target}
	}
}

// worstAtMost compares the worst of the other contenders with the first one.
func worstAtMost(target float64) func(measure, []map[string]float64) verdict {
	return func(m measure, rounds []map[string]float64) verdict {
		base, worst, which := m.contenders[0].name, 0.0, ""
		for _, c := range m.contenders[1:] {
			var ratios []float64
			for _, r := range rounds {
				ratios = append(ratios, r[c.name]/r[base])
			}
			if r := median(ratios); r > worst {
				worst, which = r, c.name
			}
		}
		return verdict{fmt.Sprintf("%s is %.2f x %s, at most %.1f x wanted", which, worst, base, target), worst <= target}
	}
}

// differenceAtMost judges how much more than the base the worst of the other
// contenders takes.
func differenceAtMost(target float64, base string) func(measure, []map[string]float64) verdict {
	return func(m measure, rounds []map[string]float64) verdict {
		worst, which := 0.0, ""
		for _, c := range m.contenders {
			var diffs []float64
			for _, r := range rounds {
				diffs = append(diffs, r[c.name]-r[base])
			}
			if d := median(diffs); c.name != base && (which == "" || d > worst) {
				worst, which = d, c.name
			}
		}
		return verdict{fmt.Sprintf("%s takes %.0f %s more than %s, at most %.0f wanted", which, worst, m.unit, base, target), worst <= target}
	}
}

func column(rounds []map[string]float64, name string) []float64 {
	vs := make([]float64, len(rounds))
	for i, r := range rounds {
		vs[i] = r[name]
	}
	return vs
}

func median(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	if n := len(vs); n%2 == 0 {
		return (vs[n/2-1] + vs[n/2]) / 2
	}
	return vs[len(vs)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
