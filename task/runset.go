package task

// runSet is the runs that a worker has, in no order. The worker's lock guards it.
type runSet struct {
	runs    []*Run
	byFence map[Fence]*Run
	// next is where the list of the next beat begins, so that all runs come to be asked about.
	next int
}

func (r *runSet) add(run *Run) {
	run.place = len(r.runs)
	r.runs = append(r.runs, run)
	if r.byFence == nil {
		r.byFence = make(map[Fence]*Run)
	}
	r.byFence[run.fence()] = run
}

// remove takes out a run; the last one takes its place.
func (r *runSet) remove(run *Run) {
	end := len(r.runs) - 1
	last := r.runs[end]
	r.runs[run.place], last.place = last, run.place
	r.runs[end] = nil
	r.runs = r.runs[:end]
	delete(r.byFence, run.fence())
}

// find returns the run of that fence, or nil.
func (r *runSet) find(f Fence) *Run { return r.byFence[f] }

// some returns the fences of at most n runs, other ones the next time.
func (r *runSet) some(n int) []Fence {
	n = min(n, len(r.runs))
	fences := make([]Fence, 0, n)
	for range n {
		if r.next >= len(r.runs) {
			r.next = 0
		}
		fences = append(fences, r.runs[r.next].fence())
		r.next++
	}
	return fences
}
