package task

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// newID makes a UUID of version 7: 48 bits of milliseconds, so that ids sort by the time of their
// making, and 74 random bits.
func newID() string {
	var b [16]byte
	ms := time.Now().UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	_, _ = rand.Read(b[6:]) // never fails: it ends the program instead
	b[6] = b[6]&0x0f | 0x70
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

// checkID accepts a UUID in its canonical lower-case form, of any version: an id is chosen by the
// client.
func checkID(id string) error {
	bad := len(id) != 36
	for i := 0; i < len(id) && !bad; i++ {
		c := id[i]
		switch i {
		case 8, 13, 18, 23:
			bad = c != '-'
		default:
			bad = !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
		}
	}
	if bad {
		return invalid("id %.40q is not a UUID in lower case, as 0197c0de-0000-7000-8000-000000000000", id)
	}
	return nil
}
