package task

import (
	"sync"
	"time"
)

// turns decides when a call of the store begins, for changes that share calls: at once where none
// is under way, or those that are take long; and a second one where more changes wait than one call
// takes. Its owner's lock guards it.
type turns struct {
	active int // calls under way
	slow   int // of them, that take long, or wait before they try again
}

const (
	// maxTurns bounds the calls under way.
	maxTurns = 2
	// callChanges bounds the changes of a call, and callBytes what they have the store keep: a
	// checkpoint may have a mebibyte, and a thousand of them are too much for one transaction.
	callChanges = 1000
	callBytes   = 16 << 20
	// callPatience is how long a call may take before a second one begins beside it.
	callPatience = 20 * time.Millisecond
)

// weight is how many bytes a change has the store keep.
func (c *Change) weight() int {
	n := len(c.Checkpoint) + len(c.Result) + len(c.Log)
	if c.Step != nil {
		n += len(c.Step.Body)
	}
	return n
}

// begins reports whether a call is to begin, and counts it. waiting: there is something to write;
// full: that is more than one call takes.
func (t *turns) begins(waiting, full bool) bool {
	if !waiting || t.active == maxTurns || t.active > t.slow && !full {
		return false
	}
	t.active++
	return true
}

// watch calls late, with the lock held, when the call that begins now takes long. The function that
// it returns is called when that call is done.
func (t *turns) watch(lock sync.Locker, late func()) (done func()) {
	var slow, over bool
	patience := time.AfterFunc(callPatience, func() {
		lock.Lock()
		defer lock.Unlock()
		if !over {
			slow = true
			t.slow++
			late()
		}
	})
	return func() {
		patience.Stop()
		lock.Lock()
		defer lock.Unlock()
		if over = true; slow {
			t.slow--
		}
	}
}
