package sqlitestore

import (
	"database/sql"
	"fmt"
	"math"

	"github.com/lastcall-go/lastcall/task"
)

// forEver is an expiry that does not come.
const forEver = math.MaxInt64

// formatKeep is a task.Retention as the table running has it: nanoseconds, by status; nil for none.
func formatKeep(r task.Retention) any {
	if r == (task.Retention{}) {
		return nil
	}
	return fmt.Sprintf("%d %d %d", r.Succeeded, r.Failed, r.Cancelled)
}

// expires is when a task is to be removed that has ended now, nil if it is kept as long as others.
func expires(keep sql.NullString, s task.Status, now int64) any {
	if !keep.Valid {
		return nil
	}
	var r task.Retention
	if _, err := fmt.Sscanf(keep.String, "%d %d %d", &r.Succeeded, &r.Failed, &r.Cancelled); err != nil {
		return int64(forEver) // another hand wrote it: nothing is lost by it
	}
	switch of := r.Of(s); {
	case of < 0:
		return int64(forEver)
	case of > 0:
		return now + max(of.Microseconds(), 1)
	}
	return nil
}
