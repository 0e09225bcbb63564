package pgstore

import (
	"crypto/sha256"
	"fmt"
	"math"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// mustID returns the bytes of an id that must be one.
func mustID(id string) ([16]byte, error) {
	u, ok := storekit.ParseID(id)
	if !ok {
		return u, fmt.Errorf("%w: id %.40q is not a UUID in lower case", task.ErrInvalid, id)
	}
	return u, nil
}

// workerKey is a worker in the tables of tasks: its id, which is a UUID, or a hash of another name.
func workerKey(worker string) [16]byte {
	if u, ok := storekit.ParseID(worker); ok {
		return u
	}
	of := sha256.Sum256([]byte(worker))
	return [16]byte(of[:16])
}

// clampInt32 is a number as a column of the type integer holds it.
func clampInt32(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) }

// timeOrZero is a stored time; null is none.
func timeOrZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
