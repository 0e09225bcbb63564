package confine

// Cgroup is the control group of one run. The server makes it, the program starts in it, and who is
// left when nothing of the program is there any more removes it.
type Cgroup struct {
	// Dirs are its directories: one for each controller that is needed in the first version, one in
	// all in the second.
	Dirs []string
	// Unified says that it is of the second version.
	Unified bool
	// Memory is its limit, 0 if there is none.
	Memory int64
}
