package storekit

import (
	"cmp"
	"container/heap"
	"hash/maphash"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// Tally adds up a count of tasks: a store adds the lines one after the other, and the Tally keeps
// no more of them than the query wants.
type Tally struct {
	query  task.CountQuery
	kept   smallestFirst
	others map[task.Status]int
	digest uint64
	// suspects are how many suspects wait and how many run.
	suspects [2]int
}

// digestSeed makes the digests of one process comparable.
var digestSeed = maphash.MakeSeed()

// NewTally returns an empty Tally.
func NewTally(q task.CountQuery) *Tally {
	return &Tally{query: q, others: make(map[task.Status]int)}
}

// Add adds a whole line: no other line has its queue, kind and status. A number of zero or less is
// left out.
func (t *Tally) Add(c task.Count) {
	if c.N <= 0 {
		return
	}
	t.digest += maphash.Comparable(digestSeed, c) // whatever the order
	switch {
	case t.query.Kinds != nil && !slices.Contains(t.query.Kinds, c.Kind):
		t.others[c.Status] += c.N
	case t.query.Lines == 0:
		t.kept = append(t.kept, c)
	default:
		heap.Push(&t.kept, c)
		if len(t.kept) > t.query.Lines {
			least := heap.Pop(&t.kept).(task.Count)
			t.others[least.Status] += least.N
		}
	}
}

// Suspects sets how many of the tasks are suspects that wait and that run.
func (t *Tally) Suspects(waiting, running int) { t.suspects = [2]int{waiting, running} }

// Counts returns the sum of what was added.
func (t *Tally) Counts(paused []string) task.Counts {
	counts := task.Counts{
		Tasks: t.kept, Paused: paused, SuspectsWaiting: t.suspects[0], SuspectsRunning: t.suspects[1],
		Digest: t.digest + maphash.Comparable(digestSeed, t.suspects),
	}
	for status, n := range t.others {
		counts.Tasks = append(counts.Tasks, task.Count{Queue: task.OtherLines, Kind: task.OtherLines, Status: status, N: n})
	}
	task.SortCounts(counts.Tasks)
	slices.Sort(counts.Paused)
	for _, queue := range counts.Paused {
		counts.Digest += maphash.Comparable(digestSeed, queue)
	}
	return counts
}

// smallestFirst is a heap of lines. The first line has the fewest tasks; of equal lines it is the
// last one in the order of queues and kinds, so that the same lines are kept each time.
type smallestFirst []task.Count

func (h smallestFirst) Len() int      { return len(h) }
func (h smallestFirst) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h smallestFirst) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(cmp.Compare(a.N, b.N), cmp.Compare(b.Queue, a.Queue), cmp.Compare(b.Kind, a.Kind), cmp.Compare(b.Status, a.Status)) < 0
}

// Push implements heap.Interface.
func (h *smallestFirst) Push(c any) { *h = append(*h, c.(task.Count)) }

// Pop implements heap.Interface.
func (h *smallestFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
