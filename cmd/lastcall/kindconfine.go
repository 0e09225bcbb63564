package main

import (
	"os"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
)

// limitsConfig bounds what a run may use, all its processes together.
type limitsConfig struct {
	// Memory is an amount as Kubernetes writes it: 256Mi. A run that needs more is killed.
	Memory string `yaml:"memory"`
	// CPU is a number of processors: 500m, 0.5 or 2. A run that needs more is throttled.
	CPU string `yaml:"cpu"`
	// PIDs is how many processes and threads there may be at once.
	PIDs *int `yaml:"pids"`
	// TmpDir is how much disk space its directory may take, as 1Gi. A run that needs more is killed.
	TmpDir string `yaml:"tmpdir"`
}

// user checks the user that a program is to run as.
func (c *checker) user(text string) *confine.User {
	if text == "" {
		return nil
	}
	u, err := confine.ParseUser(text)
	if err != nil {
		c.wrong("user", "%v", err)
	}
	return u
}

// limits checks the limits of a run. Whether this machine can enforce them is known only when the
// server starts.
func (c *checker) limits(l limitsConfig) (out confine.Limits) {
	var err error
	if l.Memory != "" {
		if out.Memory, err = confine.ParseMemory(l.Memory); err != nil {
			c.wrong("limits.memory", "%v", err)
		}
	}
	if l.CPU != "" {
		if out.CPU, err = confine.ParseCPU(l.CPU); err != nil {
			c.wrong("limits.cpu", "%v", err)
		}
	}
	if l.PIDs != nil {
		if out.PIDs, err = confine.CheckPIDs(*l.PIDs); err != nil {
			c.wrong("limits.pids", "%v", err)
		}
	}
	return out
}

// maxTmp checks the limit of a run's directory.
func (c *checker) maxTmp(l limitsConfig) int64 {
	if l.TmpDir == "" {
		return 0
	}
	n, err := confine.ParseSize(l.TmpDir)
	if err != nil {
		c.wrong("limits.tmpdir", "%v", err)
	}
	return n
}

// inherited returns one of the server's variables, unless the variable describes the server's user
// and the program runs as another one.
func inherited(name string, u *confine.User) (string, bool) {
	if u != nil {
		switch name {
		case "HOME":
			return u.Home, u.Home != ""
		case "USER", "LOGNAME":
			return u.Name, u.Name != ""
		}
	}
	return os.LookupEnv(name)
}
