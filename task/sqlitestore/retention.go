package sqlitestore

import (
	"database/sql"
	"fmt"
	"math"

	"github.com/lastcall-go/lastcall/task"
)

// forEver is an expiry that never comes.
const forEver = math.MaxInt64

// formatKeep returns a task.Retention as the column of running: nanoseconds, by status; nil for
// none.
func formatKeep(r task.Retention) any {
	if r == (task.Retention{}) {
		return nil
	}
	return fmt.Sprintf("%d %d %d", r.Succeeded, r.Failed, r.Cancelled)
}

// expires returns when a task that ends now is to be removed, nil if it has no retention of its
// own.
func expires(keep sql.NullString, s task.Status, now int64) any {
	if !keep.Valid {
		return nil
	}
	var r task.Retention
	if _, err := fmt.Sscanf(keep.String, "%d %d %d", &r.Succeeded, &r.Failed, &r.Cancelled); err != nil {
		return int64(forEver) // another program wrote it: keep the task rather than lose it
	}
	switch of := r.Of(s); {
	case of < 0:
		return int64(forEver)
	case of > 0:
		return now + max(of.Microseconds(), 1)
	}
	return nil
}
