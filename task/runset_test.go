package task

import (
	"fmt"
	"slices"
	"testing"
)

// numbered returns a run whose task has that number as its id.
func numbered(n int) *Run {
	return &Run{task: Task{ID: fmt.Sprint(n), Kind: "k", Run: int64(n), Worker: "w"}, policy: &policy{name: "k"}}
}

func TestRunSet_FindsARunUntilItIsRemoved(t *testing.T) {
	var s runSet
	runs := make([]*Run, 10)
	for i := range runs {
		runs[i] = numbered(i)
		s.add(runs[i])
	}
	s.remove(runs[0], runs[9], runs[4], runs[8])
	for i, r := range runs {
		gone := slices.Contains([]int{0, 4, 8, 9}, i)
		if found := s.find(r.fence()); gone && found != nil || !gone && found != r {
			t.Errorf("run %d: found %v", i, found)
		}
		if slices.Contains(s.all(), r) == gone {
			t.Errorf("run %d: among all %t", i, !gone)
		}
	}
	var some [4]*Run
	if first := s.appendFirst(some[:0]); len(first) != 4 {
		t.Errorf("%d runs for a list of 4", len(first))
	}
	if first := s.appendFirst(make([]*Run, 0, 100)); len(first) != 6 {
		t.Errorf("%d runs, want all 6", len(first))
	}
}

func TestRunSet_EveryRunIsAskedAboutInItsTurn(t *testing.T) {
	var s runSet
	for i := range 7 {
		s.add(numbered(i))
	}
	asked := make(map[string]int)
	for range 7 {
		for _, f := range s.nextFences(3) {
			asked[f.Task]++
		}
	}
	for id, n := range asked {
		if n != 3 {
			t.Errorf("run %s was asked about %d times, want 3", id, n)
		}
	}
	if len(asked) != 7 || len(s.nextFences(100)) != 7 || len(s.fences()) != 7 {
		t.Errorf("asked about %v", asked)
	}
}
