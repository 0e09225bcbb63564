package rehearse

import (
	"os"
	"slices"
	"strings"
)

// The ids that the users and groups of images get if a process may give them ids of their own: as
// root of this machine, or of a user namespace that has these ids. They begin where systemd has
// reserved ids for containers, and belong to nobody.
const (
	FirstImageOwner = 0x60000000
	ImageOwners     = 1 << 16
)

// faultHandler makes Python write the stacks of its threads at SIGABRT. Nothing else reads the
// variable, and nothing changes before that signal.
const faultHandler = "PYTHONFAULTHANDLER=1"

// environment is the whole environment of a container's program. Of two values for a name, the
// later one counts.
func (c *Container) environment() []string {
	base := append([]string{faultHandler}, os.Environ()...)
	if c.Image != nil {
		base = c.Image.Env
	}
	last := make(map[string]int)
	all := make([]string, 0, len(base)+len(c.Env))
	for _, pair := range append(slices.Clone(base), c.Env...) {
		name, _, _ := strings.Cut(pair, "=")
		if i, ok := last[name]; ok {
			all[i] = pair
			continue
		}
		last[name] = len(all)
		all = append(all, pair)
	}
	if c.reports != "" {
		i, ok := last[nodeOptions]
		if !ok {
			i, all = len(all), append(all, nodeOptions+"=")
		}
		all[i] += " " + reportOptions(c.reports) // of an option that is there twice, the later one counts
	}
	return all
}

// cutName returns the value of NAME=VALUE.
func cutName(pair, name string) (value string, ok bool) {
	before, value, ok := strings.Cut(pair, "=")
	return value, ok && before == name
}
