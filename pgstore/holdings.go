package pgstore

import "sync"

// holdings counts what of this process's claims has not ended yet, so that a claim's row is taken away
// soon after the last. It may count too much, when an answer was lost or a run has ended in somebody's
// transaction, never too little: what it misses is found by a sweep, which looks.
type holdings struct {
	mu   sync.Mutex
	open map[held]*holding
	over []int64 // rows of claims of which everything has ended
}

// held names the runs of a claim, or of two that were made in the same millisecond.
type held struct {
	worker string
	run    int64
}

type holding struct {
	left int
	rows []int64
}

// add records what a claim got.
func (h *holdings) add(got *claimed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == nil {
		h.open = make(map[held]*holding)
	}
	var of *holding
	for i, p := range got.places {
		if i == 0 { // all runs of a claim have one number
			key := held{worker: got.tasks[0].Worker, run: got.tasks[0].Run}
			if of = h.open[key]; of == nil {
				of = new(holding)
				h.open[key] = of
			}
		}
		if n := len(of.rows); n == 0 || of.rows[n-1] != p.claim {
			of.rows = append(of.rows, p.claim)
		}
		of.left++
	}
}

// ended says how many runs of claims the store has just ended.
func (h *holdings) ended(runs map[held]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, n := range runs {
		of := h.open[key]
		if of == nil {
			continue
		}
		if of.left -= n; of.left == 0 {
			h.over = append(h.over, of.rows...)
			delete(h.open, key)
		}
	}
}

// takeOver returns the rows that can go, and forgets them.
func (h *holdings) takeOver() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	over := h.over
	h.over = nil
	return over
}

// giveBack is for rows that did not go.
func (h *holdings) giveBack(over []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = append(h.over, over...)
}

// forget drops what a worker holds, or those claims of it that are gone.
func (h *holdings) forget(worker string, gone func(run int64) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range h.open {
		if key.worker == worker && gone(key.run) {
			delete(h.open, key)
		}
	}
}
