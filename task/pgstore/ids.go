package pgstore

import (
	"crypto/sha256"
	"fmt"
	"math"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// mustID returns the bytes of an id, or an error if it is not a UUID.
func mustID(id string) ([16]byte, error) {
	u, ok := storekit.ParseID(id)
	if !ok {
		return u, fmt.Errorf("%w: id %.40q is not a UUID in lower case", task.ErrInvalid, id)
	}
	return u, nil
}

// workerKey returns how a worker is named in the tables of tasks: by its id if that is a UUID,
// otherwise by a hash of it.
func workerKey(worker string) [16]byte {
	if u, ok := storekit.ParseID(worker); ok {
		return u
	}
	of := sha256.Sum256([]byte(worker))
	return [16]byte(of[:16])
}

// clampInt32 returns a number within the range of a column of type integer.
func clampInt32(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) }

// timeOrZero returns a stored time, and the zero time for null.
func timeOrZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
