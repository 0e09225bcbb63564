//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/clock"
	"github.com/lastcall-go/lastcall/test/chaos/server"
)

// Exit codes.
const (
	codeKept   = 0 // no rule was broken
	codeBroken = 1 // a rule was broken
	codeUsage  = 2 // the command line is wrong
	codeFailed = 3 // the harness failed
)

func main() {
	server.Help()
	os.Exit(command(os.Args[1:], os.Stdout, os.Stderr))
}

// options are the flags of the command line.
type options struct {
	store           string
	duration        time.Duration
	seed            uint64
	driver, program string
	dir             string
	schema, pooler  string
	faults          []string
	schedule        string
	workers         int
	clients         int
	rate            int
	retention       time.Duration
	again           int
	shrink          time.Duration
	breaks          string
	clock           bool
	toolchain       string
}

// command is the whole program: the supervisor or, inside of it, a run.
func command(args []string, out, complaints io.Writer) int {
	opt, err := parse(args, complaints)
	if errors.Is(err, flag.ErrHelp) {
		return codeKept
	}
	if err != nil {
		fmt.Fprintln(complaints, "chaos:", err)
		return codeUsage
	}
	if opt.toolchain != "" {
		return writeToolchain(opt.toolchain, out, complaints)
	}
	var code int
	if inside := os.Getenv(insideVariable); inside != "" {
		code, err = runInside(opt, inside, out)
	} else {
		code, err = supervise(opt, args, out)
	}
	if err != nil {
		fmt.Fprintln(complaints, "chaos:", err)
		return max(code, codeFailed)
	}
	return code
}

// writeToolchain writes a go command whose programs have a clock that can be stepped, and prints
// its path.
func writeToolchain(dir string, out, complaints io.Writer) int {
	err := os.MkdirAll(dir, 0o755)
	var path string
	if err == nil {
		path, err = clock.Toolchain(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(complaints, "chaos:", err)
		return codeFailed
	}
	fmt.Fprintln(out, path)
	return codeKept
}

func parse(args []string, complaints io.Writer) (opt options, err error) {
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.SetOutput(complaints)
	f.Usage = func() {
		f.PrintDefaults()
		fmt.Fprintln(complaints, "\nThe kinds of faults:")
		for _, k := range allKinds() {
			fmt.Fprintf(complaints, "  %-26s %s%s\n", k.name, k.what, map[bool]string{true: " Only if requested by name."}[k.asked])
		}
	}
	var faults string
	f.StringVar(&opt.store, "store", sqlite, "the store: sqlite or postgres")
	f.DurationVar(&opt.duration, "duration", time.Minute, "how long load and faults last")
	f.Uint64Var(&opt.seed, "seed", uint64(time.Now().UnixNano())%1e9, "the seed of the faults and the load")
	f.StringVar(&opt.driver, "driver", "", "the driver of the library that is tested")
	f.StringVar(&opt.program, "program", "", "the program lastcall, which becomes the last worker; empty: it takes no part")
	f.StringVar(&opt.dir, "dir", ".run/chaos", "the directory for the history, the schedule and the logs")
	f.StringVar(&opt.schema, "schema", "lastcall", "the schema in PostgreSQL that has the tables of the library")
	f.StringVar(&opt.pooler, "pooler", "", "the mode of a PgBouncer in front of PostgreSQL, session or transaction; empty: none")
	f.StringVar(&faults, "faults", "", "the kinds of faults, separated by commas; empty: all")
	f.StringVar(&opt.schedule, "schedule", "", "the schedule of an earlier run, to make the same faults again")
	f.IntVar(&opt.workers, "workers", 4, "worker processes")
	f.IntVar(&opt.clients, "clients", 2, "client processes")
	f.IntVar(&opt.rate, "rate", 200, "tasks per second")
	f.DurationVar(&opt.retention, "retention", 20*time.Second, "how long ended tasks are kept; 0 means for ever")
	f.IntVar(&opt.again, "again", 1, "how many times to run, with the same faults")
	f.DurationVar(&opt.shrink, "shrink", 0, "how long to look for a shorter schedule that still breaks a rule")
	f.StringVar(&opt.breaks, "break", "", "the rule that the driver must break, to test the checker")
	f.BoolVar(&opt.clock, "clock", false, "the driver was built with the go command of -toolchain, so its clock can be stepped")
	f.StringVar(&opt.toolchain, "toolchain", "", "only create, in this directory, a go command whose programs have a clock that can be stepped, and print its path")
	if err := f.Parse(args); err != nil {
		return opt, err
	}
	if faults != "" {
		opt.faults = strings.Split(faults, ",")
	}
	return opt, opt.check(f.Args())
}

// check reports what is wrong with the options.
func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: everything is said with flags", rest)
	case o.store != sqlite && o.store != postgres:
		return fmt.Errorf("no store is called %q: use -store %s or -store %s", o.store, sqlite, postgres)
	case o.toolchain != "":
		return nil
	case o.driver == "":
		return errors.New("no driver: build one (go build -o driver ./test/chaos/service) and name it with -driver")
	case o.retention < 0:
		return errors.New("-retention is 0 or more")
	case o.duration <= 0 || o.workers <= 0 || o.clients <= 0 || o.rate <= 0 || o.again <= 0:
		return errors.New("-duration, -workers, -clients, -rate and -again are more than 0")
	}
	if _, err := kindsFor(o.store, o.faults); err != nil {
		return err
	}
	var err error
	for _, path := range []*string{&o.driver, &o.program, &o.dir} {
		if *path != "" && err == nil {
			*path, err = filepath.Abs(*path)
		}
	}
	return err
}

// runInside executes one run in this process, a child of the supervisor.
func runInside(opt options, text string, out io.Writer) (code int, err error) {
	in, err := readInside(text)
	if err != nil {
		return codeFailed, err
	}
	opt.dir = in.Dir
	if in.Schedule != "" {
		opt.schedule = in.Schedule
	}
	ctx, stop := untilParentEnds()
	defer stop()
	defer func() { err = errors.Join(err, clean(in.Scratch)) }()
	return conduct(ctx, opt, in.Scratch, out)
}

// conduct makes the schedule, executes the run, and reports its outcome.
func conduct(ctx context.Context, opt options, scratch string, out io.Writer) (code int, err error) {
	r, err := newRun(ctx, opt, scratch, out)
	if err != nil {
		return codeFailed, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	faults, err := r.plan()
	if err != nil {
		return codeFailed, err
	}
	h, err := r.do(ctx, faults)
	if err != nil {
		return codeFailed, err
	}
	verdict, err := r.judge(h)
	if err != nil {
		return codeFailed, err
	}
	r.tell(h, verdict)
	if len(verdict.Breaches) == 0 {
		return codeKept, nil
	}
	path, err := r.store.keep(r.dir)
	if err != nil {
		return codeFailed, fmt.Errorf("keep the database: %w", err)
	}
	fmt.Fprintln(out, "the database is kept in", path)
	return codeBroken, nil
}

// choose decides which kinds of faults can be made here.
func (r *run) choose() error {
	kinds, err := kindsFor(r.opt.store, r.opt.faults)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		if k.needs != nil {
			if err := k.needs(r); err != nil {
				r.skipped[k.name] = err.Error()
				continue
			}
		}
		r.kinds = append(r.kinds, k)
	}
	return nil
}

// plan makes or reads the schedule.
func (r *run) plan() (faults []Fault, err error) {
	if r.opt.schedule != "" {
		if faults, err = readSchedule(r.opt.schedule); err != nil {
			return nil, err
		}
	} else {
		faults = newSchedule(r.opt.seed, r.opt.duration, r.kinds, names(r.workers), names(r.clients))
	}
	return faults, writeSchedule(r.scheduleFile(), faults)
}

func (r *run) scheduleFile() string { return filepath.Join(r.dir, "schedule.json") }

func names(some []*slot) (names []string) {
	for _, s := range some {
		names = append(names, s.name)
	}
	return names
}
