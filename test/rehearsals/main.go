//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "rehearsals:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

// options are the command line's.
type options struct {
	lastcall, data, work, seen, page string
	only                             *regexp.Regexp
}

func parse() (*options, error) {
	var o options
	var only string
	flag.StringVar(&o.lastcall, "lastcall", ".bin/lastcall", "the program")
	flag.StringVar(&o.data, "data", "test/rehearsals/testdata", "the servers' own files")
	flag.StringVar(&o.work, "dir", ".run/rehearsals", "where programs are built and npm's packages are put")
	flag.StringVar(&o.seen, "seen", "test/rehearsals/testdata/seen.json", "what was seen, of servers that are left out too")
	flag.StringVar(&o.page, "page", "docs/rehearsals.md", "the page to write")
	flag.StringVar(&only, "only", "", "rehearse the servers alone whose name this regular expression finds; none, and the page is written from what was seen: -only '^$'")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return nil, err
	}
	for _, path := range []*string{&o.lastcall, &o.data, &o.work} {
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	return &o, nil
}

func command(ctx context.Context) error {
	o, err := parse()
	if err != nil {
		return err
	}
	r := &runner{lastcall: o.lastcall, data: o.data, work: o.work, rate: 50}
	seen, err := load(o.seen)
	if err != nil {
		return err
	}
	var wrong []error
	for _, s := range servers() {
		if !o.only.MatchString(s.name) {
			continue
		}
		if missing := s.missing(); missing != "" {
			fmt.Printf("%-40s left out: no %s here: install %s\n", s.name, missing, s.installed)
			continue
		}
		if err := r.prepare(ctx, &s); err != nil {
			return err
		}
		one, err := r.rehearse(ctx, &s)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			fmt.Printf("%-40s cannot be rehearsed\n", s.name)
			wrong = append(wrong, err)
			continue
		}
		seen.put(one)
		for _, err := range s.differs(&one) {
			wrong = append(wrong, fmt.Errorf("%s: %w", s.name, err))
		}
		fmt.Printf("%-40s %s; delayed: %s\n", s.name, one.Plain.codes(), one.Delayed.codes())
	}
	seen.Date = time.Now().UTC().Format(time.DateOnly)
	if err := seen.save(o.seen); err != nil {
		return err
	}
	text, err := page(servers(), seen)
	if err != nil {
		return err
	}
	return errors.Join(append(wrong, os.WriteFile(o.page, []byte(text), 0o644))...) //nolint:gosec // a page for everybody
}

// missing returns a command that the server needs and that is not installed, empty if none is
// missing.
func (s *server) missing() string {
	for _, name := range s.needs {
		if _, err := exec.LookPath(name); errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			return name
		}
	}
	return ""
}

// differs returns an error for each difference between the results and the table.
func (s *server) differs(seen *row) (found []error) {
	if got := seen.Plain.codes(); got != s.want {
		found = append(found, fmt.Errorf("%v, and the table has: %v", got, s.want))
	}
	if got := seen.Delayed.codes(); got != s.wantDelayed {
		found = append(found, fmt.Errorf("with a preStop hook that sleeps: %v, and the table has: %v", got, s.wantDelayed))
	}
	return found
}

// record has the results of all servers, and their date.
type record struct {
	Date string `json:"date"`
	Rows []row  `json:"rows"`
}

func load(path string) (*record, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &record{}, nil
	}
	if err != nil {
		return nil, err
	}
	var seen record
	return &seen, json.Unmarshal(text, &seen)
}

func (r *record) save(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // it goes into the repository
}

// put replaces the earlier results of a server.
func (r *record) put(one row) {
	if old := r.find(one.Name); old != nil {
		*old = one
		return
	}
	r.Rows = append(r.Rows, one)
}

// find returns the results of a server, nil for none.
func (r *record) find(name string) *row {
	for i := range r.Rows {
		if r.Rows[i].Name == name {
			return &r.Rows[i]
		}
	}
	return nil
}
