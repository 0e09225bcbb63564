package task

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Suspicion names a group of suspects, which run together: a worker runs those of one group at a
// time, as many as it has slots for. Zero is none.
//
// The tasks that have their second crash in a row in one process become two groups. When a process
// dies with several suspects none of them is charged; they are split in halves, each a new group.
// Only a task that was the one suspect of its process is charged with the death. So the task that
// kills its processes is alone after as many deaths as a number of tasks can be halved, and
// meanwhile the others count no crash.
//
// A group's name is computed from the id of the worker that died. So it is the same whichever
// worker records the death, and is never used again.
type Suspicion int64

// suspicionBits bounds a name to what JSON's numbers and people can handle.
const suspicionBits = 48

// suspicionOf returns the name for some texts.
func suspicionOf(of ...string) Suspicion {
	sum := sha256.Sum256([]byte(strings.Join(of, " ")))
	return Suspicion(binary.BigEndian.Uint64(sum[:])>>(64-suspicionBits)) | 1
}

// String returns the name in hexadecimal digits, empty for none.
func (s Suspicion) String() string {
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("%012x", int64(s))
}

// ParseSuspicion returns the group whose String is name.
func ParseSuspicion(name string) (Suspicion, error) {
	if name == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(name, 16, 64)
	if err != nil || n < 0 || Suspicion(n).String() != name {
		return 0, fmt.Errorf("task: no group of suspects can be called %q", name)
	}
	return Suspicion(n), nil
}

// groupOf returns the group of a suspect that a dead worker left: its half of them.
func (r *ReclaimReply) groupOf(id, worker string) Suspicion {
	if r.Split != "" && id >= r.Split {
		return suspicionOf(worker, "second half")
	}
	return suspicionOf(worker, "first half")
}
