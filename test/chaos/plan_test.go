//go:build linux

package main

import (
	"math/rand/v2"
	"reflect"
	"regexp"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

func plans(seed uint64, n int, inTx, programs bool) []history.Plan {
	p := planner{rng: rand.New(rand.NewPCG(seed, 0)), inTx: inTx, programs: programs, hostile: programs, last: n, can: make(map[string]bool)}
	for _, can := range []string{wire.CanRecord, wire.CanIterate, wire.CanStartBefore} {
		p.can[can] = programs
	}
	all := make([]history.Plan, n)
	for i := range all {
		all[i] = p.next()
	}
	return all
}

func TestPlanner_TheSameSeedMakesTheSamePlans(t *testing.T) {
	if a, b := plans(1, 1000, true, true), plans(1, 1000, true, true); !reflect.DeepEqual(a, b) {
		t.Error("they differ")
	}
}

// A minute's plans include every kind of plan.
func TestPlanner_MakesPlansOfEverySort(t *testing.T) {
	var all history.Plan
	versions := make(map[string]bool)
	queues := make(map[string]bool)
	id := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-([1-8])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for i, p := range plans(2, 40_000, true, true) {
		if p.Seq != i+1 {
			t.Fatalf("plan %d is number %d", i+1, p.Seq)
		}
		v, sum := reflect.ValueOf(p), reflect.ValueOf(&all).Elem()
		for n := range v.NumField() {
			if !v.Field(n).IsZero() {
				sum.Field(n).Set(v.Field(n))
			}
		}
		if p.ID != "" {
			m := id.FindStringSubmatch(p.ID)
			if m == nil {
				t.Fatalf("%s is no UUID", p.ID)
			}
			versions[m[1]] = true
		}
		queues[p.Queue] = true
	}
	for n := range reflect.TypeFor[history.Plan]().NumField() {
		if reflect.ValueOf(all).Field(n).IsZero() {
			t.Errorf("no plan has %s", reflect.TypeFor[history.Plan]().Field(n).Name)
		}
	}
	if len(versions) != 7 || len(queues) < 2000 {
		t.Errorf("versions %v, %d queues", versions, len(queues))
	}
}

func TestPlanner_LeavesOutWhatAStoreOrARunHasNot(t *testing.T) {
	for _, p := range plans(3, 10_000, false, false) {
		if p.InTx || p.Kind == history.KindProgram || p.Recorded || p.Items || p.StartBeforeMS != 0 {
			t.Fatalf("%+v", p)
		}
	}
}
