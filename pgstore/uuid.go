package pgstore

import (
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// parseID reads an id in its canonical form. What is not one names no task.
func parseID(id string) (u [16]byte, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return u, false
	}
	var digits [32]byte
	copy(digits[0:], id[0:8])
	copy(digits[8:], id[9:13])
	copy(digits[12:], id[14:18])
	copy(digits[16:], id[19:23])
	copy(digits[20:], id[24:36])
	for _, c := range digits {
		if c >= 'A' && c <= 'F' {
			return u, false // another id, which would name the same task
		}
	}
	_, err := hex.Decode(u[:], digits[:])
	return u, err == nil
}

// mustID is parseID for an id that must be one.
func mustID(id string) ([16]byte, error) {
	u, ok := parseID(id)
	if !ok {
		return u, fmt.Errorf("%w: id %.40q is not a UUID in lower case", task.ErrInvalid, id)
	}
	return u, nil
}

func formatID(u [16]byte) string {
	var s [36]byte
	hex.Encode(s[0:8], u[0:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:36], u[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// small is a number as a column of the type integer holds it.
func small(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) }

// at is a stored time; null is none.
func at(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
