//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

// Fault is an entry of a schedule. A schedule is pure data: it is derived from a seed, written next
// to the history of the run, and read again to repeat or to shrink it.
type Fault struct {
	ID   int    // its number in the schedule it was made in, from 1
	At   span   // since the start of the faults
	Kind string // a name in the table of kinds
	Slot string `json:",omitempty"` // the slot it hits; empty: what the kind hits
	For  span   `json:",omitempty"` // how long it lasts
	Arg  int    `json:",omitempty"` // a further parameter of the kind
}

// String formats the fault as a line for the reader.
func (f Fault) String() string {
	s := fmt.Sprintf("%8.3fs  #%d %s", time.Duration(f.At).Seconds(), f.ID, f.Kind)
	if f.Slot != "" {
		s += " " + f.Slot
	}
	if f.For > 0 {
		s += " for " + time.Duration(f.For).String()
	}
	if f.Arg != 0 {
		s += fmt.Sprintf(" (%d)", f.Arg)
	}
	return s
}

// span is a duration in text form.
type span time.Duration

// MarshalText formats the duration.
func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText parses the duration.
func (s *span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*s = span(d)
	return err
}

// timing is what a kind chooses for a fault. Settle is the pause for its target after it.
type timing struct {
	lasts, settle time.Duration
	arg           int
}

// scope is what a fault hits, and so decides which faults may not be active at the same time.
type scope int

// The scopes.
const (
	oneWorker scope = iota
	oneClient
	allWorkers
	theStore
)

// newSchedule derives the faults of a run from a seed. Kinds come from a deck that is shuffled and
// dealt again and again, so that a long run has about as many faults of each kind. No two faults
// hit the same target at the same time, and all of them are over before the end.
func newSchedule(seed uint64, duration time.Duration, kinds []kind, workers, clients []string) []Fault {
	if len(kinds) == 0 {
		return nil
	}
	const (
		least, most = 150 * time.Millisecond, 900 * time.Millisecond // between two faults
		// How long a fault may wait for its target.
		ahead = 3 * time.Second
	)
	d := dealer{rng: rand.New(rand.NewPCG(seed, 2)), kinds: kinds, free: make(map[string]time.Duration), workers: workers, clients: clients}
	var faults []Fault
	for now := 500 * time.Millisecond; now < duration; now += least + time.Duration(d.rng.Int64N(int64(most-least))) {
		f, ok := d.fault(roundly(now), duration)
		if ok {
			faults = append(faults, f)
			now = max(now, time.Duration(f.At)-ahead)
		}
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	for i := range faults {
		faults[i].ID = i + 1
	}
	return faults
}

// dealer deals kinds of faults to targets.
type dealer struct {
	rng              *rand.Rand
	kinds            []kind
	deck             []int
	workers, clients []string
	// The time from which a target is free of all faults so far.
	free map[string]time.Duration
}

// storeTarget is the name of the store among the targets.
const storeTarget = "store"

// fault deals the next kind to a free target, or to the one that becomes free first, unless the
// fault would not be over in time.
func (d *dealer) fault(now, duration time.Duration) (f Fault, ok bool) {
	if len(d.deck) == 0 {
		d.deck = d.rng.Perm(len(d.kinds))
	}
	k := d.kinds[d.deck[0]]
	d.deck = d.deck[1:]
	t := k.timing(d.rng)
	f = Fault{Kind: k.name, For: span(t.lasts), Arg: t.arg}
	var targets []string
	switch k.scope {
	case oneWorker:
		f.Slot = d.one(d.workers, now)
		targets = []string{f.Slot}
	case oneClient:
		f.Slot = d.one(d.clients, now)
		targets = []string{f.Slot}
	case allWorkers:
		targets = d.workers
	case theStore:
		targets = []string{storeTarget}
	}
	at := now
	for _, name := range targets {
		at = max(at, d.free[name])
	}
	if at+t.lasts >= duration {
		return f, false
	}
	for _, name := range targets {
		d.free[name] = at + t.lasts + t.settle
	}
	f.At = span(at)
	return f, true
}

// one chooses among the free targets, or returns the one that becomes free first.
func (d *dealer) one(names []string, now time.Duration) string {
	var some []string
	for _, name := range names {
		if d.free[name] <= now {
			some = append(some, name)
		}
	}
	if len(some) > 0 {
		return some[d.rng.IntN(len(some))]
	}
	return slices.MinFunc(names, func(a, b string) int { return cmp.Compare(d.free[a], d.free[b]) })
}

// writeSchedule writes a schedule for readSchedule.
func writeSchedule(path string, faults []Fault) error {
	lines := make([]string, len(faults))
	for i, f := range faults {
		b, err := json.Marshal(f)
		if err != nil {
			return err
		}
		lines[i] = "\t" + string(b)
	}
	return os.WriteFile(path, []byte("[\n"+strings.Join(lines, ",\n")+"\n]\n"), 0o600)
}

func readSchedule(path string) (faults []Fault, err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &faults)
	}
	if err != nil {
		return nil, fmt.Errorf("read the schedule: %w: -schedule names a file that a run has written", err)
	}
	return faults, nil
}
