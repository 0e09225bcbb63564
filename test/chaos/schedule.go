//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// Fault is an entry of a schedule, which is nothing but data: it is made from a seed, written beside
// the history of the run, and read again to repeat or to shrink it.
type Fault struct {
	ID   int    // its number in the schedule it was made in, from 1
	At   span   // since the begin of the faults
	Kind string // a name in the table of kinds
	Slot string `json:",omitempty"` // whom it hits; empty: what the kind says
	For  span   `json:",omitempty"` // how long it lasts
	Arg  int    `json:",omitempty"` // what else the kind needs
}

// String is a line for the reader.
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

// span is a duration that is written as people write it.
type span time.Duration

// MarshalText writes it.
func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText reads it.
func (s *span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*s = span(d)
	return err
}

// timing is what a kind chooses for a fault. Settle is how long its target is left alone after it.
type timing struct {
	lasts, settle time.Duration
	arg           int
}

// scope says what a fault hits, and so which faults may not be at work at the same time.
type scope int

// The scopes.
const (
	oneWorker scope = iota
	oneClient
	allWorkers
	theStore
)

// newSchedule makes the faults of a run. Kinds come from a deck that is shuffled and dealt again and
// again, so that a long run has about as many faults of each kind. No two faults hit the same target
// at the same time, and all of them are over before the end.
func newSchedule(seed uint64, duration time.Duration, kinds []kind, workers, clients []string) []Fault {
	d := dealer{rng: rand.New(rand.NewPCG(seed, 2)), kinds: kinds, busy: make(map[string]time.Duration)}
	var faults []Fault
	if len(kinds) == 0 {
		return faults
	}
	const least, most = 150 * time.Millisecond, 900 * time.Millisecond
	for at := 500 * time.Millisecond; at < duration; at += least + time.Duration(d.rng.Int64N(int64(most-least))) {
		f, ok := d.fault(at, duration, workers, clients)
		if ok {
			f.ID = len(faults) + 1
			faults = append(faults, f)
		}
	}
	return faults
}

// dealer deals kinds of faults to targets.
type dealer struct {
	rng   *rand.Rand
	kinds []kind
	deck  []int
	busy  map[string]time.Duration // until when a target is at a fault, or recovers from one
}

// store is the name of the store among the targets.
const storeTarget = "store"

// fault deals the first kind of the deck that has a free target now. Those before it keep their turn.
func (d *dealer) fault(at, end time.Duration, workers, clients []string) (Fault, bool) {
	if len(d.deck) < len(d.kinds) {
		d.deck = append(d.deck, d.rng.Perm(len(d.kinds))...)
	}
	for i, n := range d.deck {
		k := d.kinds[n]
		t := k.timing(d.rng)
		targets := d.targets(k.scope, at, workers, clients)
		if targets == nil || at+t.lasts > end {
			continue
		}
		f := Fault{At: span(at), Kind: k.name, For: span(t.lasts), Arg: t.arg}
		if k.scope == oneWorker || k.scope == oneClient {
			f.Slot = targets[0]
		}
		for _, name := range targets {
			d.busy[name] = at + t.lasts + t.settle
		}
		d.deck = append(d.deck[:i:i], d.deck[i+1:]...)
		return f, true
	}
	return Fault{}, false
}

// targets returns what a fault would hit, or nil when it is not free.
func (d *dealer) targets(s scope, at time.Duration, workers, clients []string) []string {
	free := func(names []string) (free []string) {
		for _, name := range names {
			if d.busy[name] <= at {
				free = append(free, name)
			}
		}
		return free
	}
	switch s {
	case oneWorker, oneClient:
		names := workers
		if s == oneClient {
			names = clients
		}
		some := free(names)
		if len(some) == 0 {
			return nil
		}
		n := d.rng.IntN(len(some))
		return some[n : n+1]
	case allWorkers:
		if len(free(workers)) < len(workers) {
			return nil
		}
		return workers
	case theStore:
		return free([]string{storeTarget})
	}
	return nil
}

// writeSchedule writes a schedule that readSchedule reads.
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
