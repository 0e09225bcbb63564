package storekit

import (
	"encoding/hex"
	"time"
)

// ParseID returns the bytes of an id in its canonical form, a UUID in lower case of any version,
// and reports whether it has that form. Any other text names no task: if upper-case letters were
// allowed, one id could be written in two ways.
func ParseID(id string) (u [16]byte, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return [16]byte{}, false
	}
	var digits [32]byte
	copy(digits[0:8], id[0:8])
	copy(digits[8:12], id[9:13])
	copy(digits[12:16], id[14:18])
	copy(digits[16:20], id[19:23])
	copy(digits[20:32], id[24:36])
	for _, c := range digits {
		if c >= 'A' && c <= 'F' {
			return [16]byte{}, false
		}
	}
	if _, err := hex.Decode(u[:], digits[:]); err != nil {
		return [16]byte{}, false
	}
	return u, true
}

// FormatID returns the canonical form of an id.
func FormatID(u [16]byte) string {
	var s [36]byte
	hex.Encode(s[0:8], u[0:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:36], u[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// TimeOf returns the time in an id, to the millisecond, and reports whether there is one: only a
// UUID of version 7 (RFC 9562) has it. It is the time of the client's clock when the id was
// created.
func TimeOf(id string) (time.Time, bool) {
	u, ok := ParseID(id)
	if !ok || u[6]>>4 != 7 || u[8]>>6 != 0b10 {
		return time.Time{}, false
	}
	var ms int64
	for _, b := range u[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms), true
}
