//go:build linux

package main

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
)

func schedule(t *testing.T, seed uint64, duration time.Duration) []Fault {
	t.Helper()
	kinds, err := kindsFor(postgres, nil)
	if err != nil {
		t.Fatal(err)
	}
	return newSchedule(seed, duration, kinds, []string{"w1", "w2", "w3", "w4"}, []string{"c1", "c2"})
}

func TestSchedule_TheSameSeedMakesTheSameFaults(t *testing.T) {
	a, b, c := schedule(t, 1, time.Minute), schedule(t, 1, time.Minute), schedule(t, 2, time.Minute)
	if len(a) < 20 || !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, c) {
		t.Errorf("%d faults; the same: %t; with another seed the same: %t", len(a), reflect.DeepEqual(a, b), reflect.DeepEqual(a, c))
	}
}

func TestSchedule_IsReadAsItWasWritten(t *testing.T) {
	faults := schedule(t, 3, time.Minute)
	path := filepath.Join(t.TempDir(), "schedule.json")
	if err := writeSchedule(path, faults); err != nil {
		t.Fatal(err)
	}
	got, err := readSchedule(path)
	if err != nil || !reflect.DeepEqual(got, faults) {
		t.Errorf("%v, %v; want %v", got, err, faults)
	}
}

// A long run must have every kind about equally often.
func TestSchedule_DealsAllKindsEvenly(t *testing.T) {
	n := make(map[string]int)
	for _, f := range schedule(t, 4, time.Hour) {
		n[f.Kind]++
	}
	kinds, _ := kindsFor(postgres, nil)
	for _, k := range kinds {
		if n[k.name] < 50 || n[k.name] > n[kinds[0].name]+2 || n[k.name] < n[kinds[0].name]-2 {
			t.Errorf("%d of %s in an hour, and %d of %s", n[k.name], k.name, n[kinds[0].name], kinds[0].name)
		}
	}
}

// Only one fault of the store is active at a time. To begin and undo it takes time that no schedule
// knows: 1.3 s on average at a load of 17 to 35 on two cores, 2.5 s at a load of 80.
func TestSchedule_InAnHourEachKindOfTheServerIsAtWorkFiftyTimesAlsoOnABusyMachine(t *testing.T) {
	var ofServer []string
	for _, k := range storeKinds() {
		if k.store == postgres && !k.asked {
			ofServer = append(ofServer, k.name)
		}
	}
	for seed := range uint64(5) {
		for _, takes := range []time.Duration{1300 * time.Millisecond, 2500 * time.Millisecond} {
			times := make(map[string]int)
			var free time.Duration
			for _, f := range schedule(t, seed, time.Hour) {
				if !slices.Contains(ofServer, f.Kind) {
					continue
				}
				begins := max(time.Duration(f.At), free)
				if free = begins + time.Duration(f.For) + takes; begins < time.Hour {
					times[f.Kind]++
				}
			}
			for _, name := range ofServer {
				if n := times[name]; n < 50 {
					t.Errorf("seed %d: %s is at work %d times in an hour in which each fault takes %v more, want 50", seed, name, n, takes)
				}
			}
		}
	}
}

func TestSchedule_HitsATargetWithOneFaultAtATimeAndEndsInTime(t *testing.T) {
	const duration = 10 * time.Minute
	scopes := make(map[string]scope)
	for _, k := range allKinds() {
		scopes[k.name] = k.scope
	}
	busy := make(map[string]span)
	for _, f := range schedule(t, 5, duration) {
		targets := []string{f.Slot}
		switch scopes[f.Kind] {
		case allWorkers:
			targets = []string{"w1", "w2", "w3", "w4"}
		case theStore:
			targets = []string{storeTarget}
		case oneWorker, oneClient:
		}
		for _, name := range targets {
			if f.At < busy[name] {
				t.Errorf("%v while %s is busy until %v", f, name, busy[name])
			}
			busy[name] = f.At + f.For
		}
		if time.Duration(f.At+f.For) >= duration {
			t.Errorf("%v is not over after %v", f, duration)
		}
	}
}

func TestShorten_LeavesTheFaultsWithoutWhichNothingFails(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		faults := make([]Fault, 1+rng.IntN(40))
		for i := range faults {
			faults[i].ID = i
		}
		need := []int{rng.IntN(len(faults)), rng.IntN(len(faults))}
		slices.Sort(need)
		need = slices.Compact(need)
		runs := 0
		got, err := shorten(faults, func(some []Fault) (bool, error) {
			runs++
			for _, id := range need {
				if !slices.ContainsFunc(some, func(f Fault) bool { return f.ID == id }) {
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil || len(got) != len(need) || runs > 4*len(faults)+8 {
			t.Errorf("of %d faults %v are left after %d runs, want %v; %v", len(faults), got, runs, need, err)
		}
	}
}

func TestShorten_ReturnsWhatItHasWhenTheTimeIsOver(t *testing.T) {
	over := errors.New("over")
	runs := 0
	got, err := shorten(make([]Fault, 16), func([]Fault) (bool, error) {
		if runs++; runs > 1 {
			return false, over
		}
		return true, nil
	})
	if len(got) != 8 || !errors.Is(err, over) {
		t.Errorf("%d faults, %v", len(got), err)
	}
}
