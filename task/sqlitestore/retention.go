package sqlitestore

import (
	"math"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// forEver is an expiry that does not come.
const forEver = math.MaxInt64

// keeps is a time of a task.Retention as the table running has it: microseconds, -1 for ever.
func keeps(d time.Duration) int64 {
	switch {
	case d < 0:
		return -1
	case d > 0:
		return max(d.Microseconds(), 1)
	}
	return 0
}

// keep is the task.Retention of a run.
type keep struct{ succeeded, failed, cancelled int64 }

// expires is when a task is to be removed that has ended now, nil if it is kept as long as others.
func (k keep) expires(s task.Status, now int64) any {
	of := k.succeeded
	switch s {
	case task.StatusFailed:
		of = k.failed
	case task.StatusCancelled:
		of = k.cancelled
	}
	switch {
	case of < 0:
		return int64(forEver)
	case of > 0:
		return now + of
	}
	return nil
}
