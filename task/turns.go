package task

import (
	"sync"
	"time"
)

// turns decides when a call of the store begins, for changes that share calls. It begins at once if
// no call is under way, or if those under way take long. A second call begins if more changes wait
// than one call takes. The lock of its owner guards it.
type turns struct {
	active int // calls under way
	slow   int // of them, that take long, or wait before they try again
}

const (
	// maxTurns bounds the calls under way.
	maxTurns = 2
	// callChanges bounds the changes of a call, and callBytes the bytes that the store has to keep: a
	// checkpoint may have a mebibyte, and a thousand of them are too much for one transaction.
	callChanges = 1000
	callBytes   = 16 << 20
	// callPatience is how long a call may take before a second one begins alongside.
	callPatience = 20 * time.Millisecond
)

// weight returns how many bytes of a change the store has to keep.
func (c *Change) weight() int {
	n := len(c.Checkpoint) + len(c.Result) + len(c.Log)
	if c.Step != nil {
		n += len(c.Step.Body)
	}
	return n
}

// begins reports whether a call is to begin, and counts it. waiting: there is something to write;
// full: it is more than one call takes.
func (t *turns) begins(waiting, full bool) bool {
	if !waiting || t.active == maxTurns || t.active > t.slow && !full {
		return false
	}
	t.active++
	return true
}

// watch calls late, with the lock held, if the call that begins now takes long. The caller calls
// the returned function when that call is done.
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
