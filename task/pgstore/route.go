package pgstore

import (
	"crypto/sha256"
	"encoding/binary"
)

// route is where a task waits: a kind and a queue. Its number is the first column of the order in
// which tasks are claimed.
//
// The number follows from the names alone, so that nobody has to look it up or remember it, and a
// claim compares the names too: two routes with one number would still be kept apart. The high 16
// bits come from the kind: the routes of a kind are neighbours in the index.
type route struct{ kind, queue string }

func (r route) number() int64 {
	of := sha256.Sum256([]byte(r.kind + "\x00" + r.queue))
	return firstRoute(r.kind) | int64(binary.BigEndian.Uint64(of[:8])>>16)
}

// firstRoute and lastRoute are the least and the greatest number that a route of a kind may have.
func firstRoute(kind string) int64 {
	of := sha256.Sum256([]byte(kind))
	return int64(uint64(binary.BigEndian.Uint16(of[:2])) << 48)
}

func lastRoute(kind string) int64 { return firstRoute(kind) | (1<<48 - 1) }

// routeNumbers finds the numbers of many routes, most of which are the same.
type routeNumbers map[route]int64

func (n routeNumbers) of(r route) int64 {
	number, ok := n[r]
	if !ok {
		number = r.number()
		n[r] = number
	}
	return number
}
