package task

// roster is the runs that a worker has, in no order. The worker's lock guards it.
type roster struct {
	runs []*Run
	// next is where the list of the next beat begins, so that all runs come to be asked about.
	next int
}

func (r *roster) add(run *Run) {
	run.place = len(r.runs)
	r.runs = append(r.runs, run)
}

// remove takes out a run; the last one takes its place.
func (r *roster) remove(run *Run) {
	end := len(r.runs) - 1
	last := r.runs[end]
	r.runs[run.place], last.place = last, run.place
	r.runs[end] = nil
	r.runs = r.runs[:end]
}

// byFence is an index, made when it is needed.
func (r *roster) byFence() map[Fence]*Run {
	index := make(map[Fence]*Run, len(r.runs))
	for _, run := range r.runs {
		index[run.fence()] = run
	}
	return index
}

// some returns the fences of at most n runs, other ones the next time.
func (r *roster) some(n int) []Fence {
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
