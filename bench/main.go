package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
)

// load is what the sizes of all measures are divided by.
var load = 1

func main() {
	beServer()
	beWorker()
	rounds := flag.Int("rounds", 3, "how often each contender is measured")
	one := flag.String("one", "", "run one contender (measure/contender) and print its figures; used by the program itself")
	profile := flag.String("profile", "", "with -one: write a CPU profile to this file")
	quick := flag.Bool("quick", false, "a hundredth of the load, to see that everything works; nothing is judged")
	flag.StringVar(&dataDir, "data", dataDir, "where the data of pgfind are kept between runs")
	flag.IntVar(&commandedTasks, "commanded", commandedTasks, "how many failed tasks pgcommand retries; it deletes as many")
	flag.Usage = usage
	flag.Parse()
	if *quick {
		load = 100
	}
	if *one != "" {
		os.Exit(profiled(*profile, func() int { return runOne(*one) }))
	}
	if err := known(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(runAll(*rounds, *quick, flag.Args()))
}

func usage() {
	out := flag.CommandLine.Output()
	fmt.Fprintf(out, "usage: bench [flags] [measure ...]\n\nmeasures:\n")
	for _, m := range measures {
		fmt.Fprintf(out, "  %-15s %s\n", m.name, m.what)
	}
	flag.PrintDefaults()
}

// known reports the first name that no measure has.
func known(names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(measures, func(m measure) bool { return m.name == name }) {
			return fmt.Errorf("there is no measure %q: run bench -h for the list", name)
		}
	}
	return nil
}

// runAll runs the named measures, or all of them, and prints the table. It returns the exit code: 1
// when a promise is missed, 2 when a contender has failed.
func runAll(rounds int, quick bool, names []string) int {
	fmt.Printf("%s %s/%s, GOMAXPROCS %d, %d rounds, medians\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), rounds)
	var table []row
	for _, m := range measures {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		table = append(table, m.judge(m.run(rounds, quick), quick)...)
	}
	if err := printTable(os.Stdout, table); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return exitCode(table)
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
	code := run()
	pprof.StopCPUProfile()
	if err := f.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return code
}

// runOne runs one contender in this process and prints its figures.
func runOne(which string) int {
	c, err := find(which)
	if err == nil {
		var found figures
		if found, err = c.run(); err == nil {
			err = found.print(os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, which+":", err)
		return 2
	}
	return 0
}

// find returns the contender that is named as measure/contender.
func find(which string) (contender, error) {
	name, contenderName, _ := strings.Cut(which, "/")
	for _, m := range measures {
		for _, c := range m.contenders {
			if m.name == name && c.name == contenderName {
				return c, nil
			}
		}
	}
	return contender{}, errors.New("there is no such contender")
}
