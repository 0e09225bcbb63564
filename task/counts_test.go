package task_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestCounts_AreBoundedByTheirLargestLinesAndTheSumOfTheOthers(t *testing.T) {
	var c task.Counts
	sum := make(map[task.Status]int)
	for i := range 100 {
		n := task.Count{Queue: fmt.Sprintf("q%02d", i), Kind: "k", Status: task.Statuses()[i%2], N: i + 1}
		c.Tasks = append(c.Tasks, n)
		sum[n.Status] += n.N
	}
	if got := c.Largest(100); !slices.Equal(got.Tasks, c.Tasks) {
		t.Errorf("few were changed: %+v", got)
	}
	whole := slices.Clone(c.Tasks)
	got := c.Largest(10)
	if !slices.Equal(c.Tasks, whole) {
		t.Error("the counts themselves were changed")
	}
	if len(got.Tasks) != 12 {
		t.Fatalf("%+v", got.Tasks)
	}
	for _, n := range got.Tasks {
		sum[n.Status] -= n.N
		if n.Queue != task.OtherLines && n.N <= 90 {
			t.Errorf("%+v is none of the largest", n)
		}
	}
	if sum[task.StatusQueued] != 0 || sum[task.StatusRunning] != 0 {
		t.Errorf("tasks were lost: %v", sum)
	}
	if again := got.Largest(5); len(again.Tasks) > 7 {
		t.Errorf("bounded again: %+v", again.Tasks)
	}
	known := c.OfKinds(func(kind string) bool { return kind == "other" })
	if len(known.Tasks) != 2 || known.Tasks[0].Kind != task.OtherLines {
		t.Errorf("of kinds: %+v", known.Tasks)
	}
	if _, err := task.Prepare(task.OtherLines, nil, nil); err == nil {
		t.Error("a kind can have the name of the others")
	}
}
