package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// measure is a subject: contenders that do the same work, and what is promised of them.
type measure struct {
	name       string
	what       string
	contenders []contender
	promises   []promise
}

// contender does the work once, in a fresh process, and returns what it has found.
type contender struct {
	name string
	run  func() (figures, error)
	once bool // it is measured in the first round only: it takes long, or repeats itself
}

// figures are what a contender has found, by their names, which end with the unit.
type figures map[string]float64

// The names of figures that many contenders have.
const (
	perSecond   = "tasks /s"
	processor   = "processor time us" // for each task, of the worker and the server
	ofTheWorker = "processor time, worker us"
	ofTheServer = "processor time, server us"
	duration    = "duration ms"
	forEach     = "for each task us"
	p99         = "p99 ms"
	inBytes     = "bytes"
)

// unit is the last word of a figure's name.
func unit(name string) string { return name[strings.LastIndexByte(name, ' ')+1:] }

func (f figures) print(w io.Writer) error { return json.NewEncoder(w).Encode(f) }

// merge adds the figures of another one.
func (f figures) merge(other figures) figures {
	maps.Copy(f, other)
	return f
}

// every is a contender of every round, once one that is measured in the first round only.
func every(name string, run func() (figures, error)) contender { return contender{name, run, false} }
func once(name string, run func() (figures, error)) contender  { return contender{name, run, true} }

// ms makes a contender's function of one that finds how long something took.
func ms(run func() (float64, error)) func() (figures, error) { return only(duration, run) }

// only makes a contender's function of one that finds one figure.
func only(name string, run func() (float64, error)) func() (figures, error) {
	return func() (figures, error) {
		v, err := run()
		return figures{name: v}, err
	}
}

// round has the figures of one round by contender.
type round map[string]figures

// results are what the rounds of a measure have found.
type results []round

// run measures the contenders in turn, round by round, and prints what they have found. One that
// fails is left out, with what it has found before.
func (m measure) run(rounds int, quick bool) results {
	fmt.Printf("\n%s: %s\n", m.name, m.what)
	var r results
	began := time.Now()
	fell := map[string]bool{}
	for i := range rounds {
		found := round{}
		for _, c := range m.contenders {
			if fell[c.name] || i > 0 && c.once {
				continue
			}
			fmt.Fprintf(os.Stderr, "  %s, round %d\n", c.name, i+1)
			got, err := inProcess(m.name+"/"+c.name, quick)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				fell[c.name] = true
			}
			found[c.name] = got
		}
		r = append(r, found)
	}
	for _, found := range r {
		maps.DeleteFunc(found, func(name string, _ figures) bool { return fell[name] })
	}
	m.printFigures(r)
	fmt.Printf("  (%.0f s)\n", time.Since(began).Seconds())
	return r
}

// printFigures prints the median of each figure, and its range.
func (m measure) printFigures(r results) {
	for _, c := range m.contenders {
		for _, name := range r.names(c.name) {
			vs := r.column(figure{c.name, name})
			fmt.Printf("  %-24s %-36s %16s%s\n", c.name, strings.TrimSuffix(name, " "+unit(name)),
				amount(median(vs), unit(name)), spread(vs))
		}
	}
}

// names are those of a contender's figures, sorted.
func (r results) names(contender string) []string {
	return slices.Sorted(maps.Keys(r[0][contender]))
}

// column has a figure of all rounds in which it was measured.
func (r results) column(f figure) []float64 {
	var vs []float64
	for _, found := range r {
		if v, ok := found[f.contender][f.name]; ok {
			vs = append(vs, v)
		}
	}
	return vs
}

// inProcess measures one contender in a process of its own.
func inProcess(which string, quick bool) (figures, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-one", which, "-data", dataDir, "-commanded", strconv.Itoa(commandedTasks)}
	if quick {
		args = append(args, "-quick")
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", which, err)
	}
	var found figures
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("%s printed %q: %w", which, out, err)
	}
	return found, nil
}

func median(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	if n := len(vs); n%2 == 0 {
		return (vs[n/2-1] + vs[n/2]) / 2
	}
	return vs[len(vs)/2]
}

// spread is from where to where figures go, if there are several.
func spread(vs []float64) string {
	if len(vs) < 2 {
		return ""
	}
	return fmt.Sprintf(" (%s to %s)", amount(slices.Min(vs), ""), amount(slices.Max(vs), ""))
}

// quantile of figures that it sorts: at least such a part of them is not above it.
func quantile(vs []float64, q float64) float64 {
	if len(vs) == 0 {
		return math.NaN() // which is never within a bound
	}
	slices.Sort(vs)
	return vs[max(int(math.Ceil(float64(len(vs))*q))-1, 0)]
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
