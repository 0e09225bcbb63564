package confine

// Cgroup is the control group of one run. The server creates it, and the program starts in it. It
// is removed by the server, or by the shim if the server is gone, when nothing of the program is
// left.
type Cgroup struct {
	// Dirs are its directories: in cgroup v1 one for each controller that is needed, in cgroup v2 one
	// in all.
	Dirs []string
	// Unified is whether it is a group of cgroup v2.
	Unified bool
	// Memory is its memory limit, 0 if there is none.
	Memory int64
}
