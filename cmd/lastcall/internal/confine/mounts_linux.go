package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hierarchy is where a process finds its own control group.
type hierarchy struct {
	own     string // the directory of the process's group
	unified bool   // cgroup v2
}

// findHierarchies finds the group of this process for each controller that is needed. A machine may
// have some controllers in cgroup v1 and others in v2. All needed ones must be in the same version.
func findHierarchies(needed []string) (map[string]hierarchy, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	found := make(map[string]hierarchy)
	var unified string
	for line := range strings.Lines(string(mounts)) {
		m, ok := parseMount(line)
		if !ok {
			continue
		}
		for line := range strings.Lines(string(groups)) {
			fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
			if len(fields) < 3 {
				continue
			}
			if fields[1] == "" && m.kind == "cgroup2" {
				unified = m.below(fields[2])
				continue
			}
			for name := range strings.SplitSeq(fields[1], ",") {
				if m.kind == "cgroup" && slices.Contains(needed, name) && slices.Contains(m.options, name) {
					found[name] = hierarchy{own: m.below(fields[2])}
				}
			}
		}
	}
	return complete(found, needed, unified)
}

// complete adds the controllers of cgroup v2. Its error names those that are missing.
func complete(found map[string]hierarchy, needed []string, unified string) (map[string]hierarchy, error) {
	var available []string
	if unified != "" {
		b, err := os.ReadFile(filepath.Join(unified, "cgroup.controllers"))
		if err != nil {
			return nil, fmt.Errorf("control groups: %w", err)
		}
		available = strings.Fields(string(b))
	}
	var missing []string
	for _, name := range needed {
		if _, ok := found[name]; ok {
			continue
		}
		if !slices.Contains(available, name) {
			missing = append(missing, name)
			continue
		}
		found[name] = hierarchy{own: unified, unified: true}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("no control groups for %s are given to this process: mount them, or delegate them to it (systemd: Delegate=yes), or take the limits out",
			strings.Join(missing, ", "))
	}
	unifieds := 0
	for _, h := range found {
		if h.unified {
			unifieds++
		}
	}
	if unifieds > 0 && unifieds < len(found) {
		return nil, errors.New("some of the control groups that the limits need are of version 1, some of version 2: mount all of them in one version")
	}
	return found, nil
}

// mount is a line of /proc/self/mountinfo about control groups.
type mount struct {
	root, at, kind string
	options        []string
}

// parseMount parses a line, as proc(5) describes it.
func parseMount(line string) (mount, bool) {
	before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
	fields, behind := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(behind) < 3 || !strings.HasPrefix(behind[0], "cgroup") {
		return mount{}, false
	}
	return mount{root: unescape(fields[3]), at: unescape(fields[4]), kind: behind[0], options: strings.Split(behind[2], ",")}, true
}

// below returns the directory of a group. The mount may show only a part of the hierarchy.
func (m mount) below(group string) string {
	if rel, err := filepath.Rel(m.root, group); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		group = rel
	}
	return filepath.Join(m.at, group)
}

// unescape undoes how mountinfo escapes blanks.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
