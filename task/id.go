package task

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// newID returns a UUID of version 7 (RFC 9562, method 3). It has 48 bits of milliseconds and 12
// bits of the fraction, so that ids sort by the time of their creation, to about a quarter of a
// microsecond. The other 62 bits are random.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[8:]) // never fails: it ends the program instead
	now := time.Now()
	fraction := now.Nanosecond() % 1e6 << 12 / 1e6
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16|7<<12|uint64(fraction))
	b[8] = b[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[0:8], b[0:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:36], b[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
