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

// measure is a subject: contenders that do the same work, and the promises about their figures.
type measure struct {
	name       string
	what       string
	contenders []contender
	promises   []promise
}

// contender does the work once, in a fresh process, and returns its figures.
type contender struct {
	name string
	run  func() (figures, error)
	once bool // measured in the first round only: it takes long, or would only repeat itself
}

// figures are the results of a contender by name. A name ends with the unit.
type figures map[string]float64

// The names of figures that several contenders have.
const (
	perSecond   = "tasks /s"
	processor   = "processor time us" // per task, of the worker and the server together
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

// MarshalJSON writes null for NaN: a quantile of nothing, for instance of the tasks that ended in a
// minute in which none did.
func (f figures) MarshalJSON() ([]byte, error) {
	known := make(map[string]*float64, len(f))
	for name, v := range f {
		known[name] = nil
		if !math.IsNaN(v) {
			known[name] = &v
		}
	}
	return json.Marshal(known)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *figures) UnmarshalJSON(b []byte) error {
	var known map[string]*float64
	if err := json.Unmarshal(b, &known); err != nil {
		return err
	}
	*f = make(figures, len(known))
	for name, v := range known {
		(*f)[name] = math.NaN()
		if v != nil {
			(*f)[name] = *v
		}
	}
	return nil
}

// merge adds the figures of another map.
func (f figures) merge(other figures) figures {
	maps.Copy(f, other)
	return f
}

// every returns a contender that is measured in every round, once one that is measured in the first
// round only.
func every(name string, run func() (figures, error)) contender { return contender{name, run, false} }
func once(name string, run func() (figures, error)) contender  { return contender{name, run, true} }

// ms turns a function that measures a duration into the function of a contender.
func ms(run func() (float64, error)) func() (figures, error) { return only(duration, run) }

// only turns a function that returns one figure into the function of a contender.
func only(name string, run func() (float64, error)) func() (figures, error) {
	return func() (figures, error) {
		v, err := run()
		return figures{name: v}, err
	}
}

// round has the figures of one round by contender.
type round map[string]figures

// results are the figures of all rounds of a measure.
type results []round

// run measures the contenders in turn, round by round, and prints their figures. A contender that
// fails is left out, with its earlier figures.
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

// names returns the names of a contender's figures, sorted.
func (r results) names(contender string) []string {
	return slices.Sorted(maps.Keys(r[0][contender]))
}

// column returns a figure of all rounds in which it was measured.
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

// spread formats the range of several figures.
func spread(vs []float64) string {
	if len(vs) < 2 {
		return ""
	}
	return fmt.Sprintf(" (%s to %s)", amount(slices.Min(vs), ""), amount(slices.Max(vs), ""))
}

// quantile sorts the figures, and returns the smallest one for which at least a fraction q of them
// is not above it.
func quantile(vs []float64, q float64) float64 {
	if len(vs) == 0 {
		return math.NaN() // NaN is never within a bound
	}
	slices.Sort(vs)
	return vs[max(int(math.Ceil(float64(len(vs))*q))-1, 0)]
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
