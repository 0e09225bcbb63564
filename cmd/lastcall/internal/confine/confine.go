// Package confine isolates a program from the rest of the machine: from the memory and the
// environment of the server that runs it, from processes that are not its own, from another user's
// rights. It also limits how much of the machine the program may use.
//
//   - [Undumpable] protects a process from others of the same user.
//   - [Isolation] gives a program a PID namespace of its own.
//   - [User] is the user that a program runs as.
//   - [Limits] bound memory, processor and number of processes, by control groups ([Cgroups]).
//   - [Start] starts a program with all of this, in a process that exists for nothing else.
//
// It is for Linux. On other systems there is no isolation, and a user or limits are an error that
// wraps errors.ErrUnsupported.
package confine

import "errors"

// Isolation is which processes a program sees, and which can see it.
type Isolation int

const (
	// Shared is the PID namespace of the server: a program sees the processes there, and may signal
	// those of its own user.
	Shared Isolation = iota
	// Namespaced is a PID namespace of its own, created by root.
	Namespaced
	// UserNamespaced is a PID namespace of its own in a user namespace, in which the program has the
	// user and group that it has outside. Files of other users appear to belong to nobody; their
	// permissions stay as they are.
	UserNamespaced
)

// String returns its name, for a log.
func (i Isolation) String() string {
	switch i {
	case Namespaced:
		return "PID namespaces, made by root"
	case UserNamespaced:
		return "PID namespaces, within user namespaces"
	}
	return "none"
}

// Program is how a program is confined when it is started.
type Program struct {
	// User is the user that it runs as, nil for that of the process that starts it.
	User *User
	// Cgroup is the control group that it starts in, nil for that of the process that starts it.
	Cgroup *Cgroup
}

// errNothingToLimit is the error of a group that would limit nothing.
var errNothingToLimit = errors.New("no limits given")
