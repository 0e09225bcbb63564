package pgstore

import (
	"crypto/sha256"
	"encoding/binary"
)

// route is where a task waits: a kind and a queue. Its number is the first column of the order in
// which tasks are claimed.
//
// The number is computed from the names alone, so no process has to look it up or remember it. A
// claim compares the names too, so two routes with the same number are still kept apart. The high
// 16 bits come from the kind, which makes the routes of a kind neighbours in the index.
type route struct{ kind, queue string }

func (r route) number() int64 {
	of := sha256.Sum256([]byte(r.kind + "\x00" + r.queue))
	return firstRoute(r.kind) | int64(binary.BigEndian.Uint64(of[:8])>>16)
}

// firstRoute and lastRoute are the lowest and the highest number that a route of a kind may have.
func firstRoute(kind string) int64 {
	of := sha256.Sum256([]byte(kind))
	return int64(uint64(binary.BigEndian.Uint16(of[:2])) << 48)
}

func lastRoute(kind string) int64 { return firstRoute(kind) | (1<<48 - 1) }

// routeNumbers caches the numbers of routes, for many tasks of which most have the same route.
type routeNumbers map[route]int64

func (n routeNumbers) of(r route) int64 {
	number, ok := n[r]
	if !ok {
		number = r.number()
		n[r] = number
	}
	return number
}
