// Package confine keeps a program from what is not its business: the memory and the environment of
// the server that runs it, processes that are not its own, another user's rights, and more of the
// machine than it was given.
//
//   - [Undumpable] closes a process to others of the same user.
//   - [Isolation] gives a program a PID namespace of its own.
//   - [User] is who a program runs as.
//   - [Limits] bound memory, processor and number of processes, by control groups ([Cgroups]).
//   - [Start] starts a program with all of this, in a process that exists for nothing else.
//
// It is for Linux. Elsewhere there is no isolation, and a user or limits are an error that is
// errors.ErrUnsupported.
package confine

import "errors"

// Isolation says which processes a program sees, and which can see it.
type Isolation int

const (
	// Shared is the PID namespace of the server: a program sees its processes, and may signal those
	// of its own user.
	Shared Isolation = iota
	// Namespaced is a PID namespace of its own, made by root.
	Namespaced
	// UserNamespaced is a PID namespace of its own in a user namespace, in which the program has the
	// user and group that it has outside. Another user's files are shown as those of nobody, with
	// the rights that they have.
	UserNamespaced
)

// String says which one it is, for a log.
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
	// User is who it runs as, nil for who starts it.
	User *User
	// Cgroup is the control group that it starts in, nil for that of who starts it.
	Cgroup *Cgroup
}

// errNothingToLimit is about a group that would limit nothing.
var errNothingToLimit = errors.New("no limits given")
