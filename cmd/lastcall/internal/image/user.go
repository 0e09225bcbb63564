package image

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// user resolves USER: a name or a number, and after a colon a group's. Names are looked up in the
// image's own /etc/passwd and /etc/group.
func (t *tree) user(said string) (uid, gid int, groups []int, home string, err error) {
	name, group, hasGroup := strings.Cut(said, ":")
	if name == "" {
		name = "0"
	}
	uid, numeric := id(name)
	known := false
	passwd, err := t.read("/etc/passwd")
	if err != nil {
		return 0, 0, nil, "", err
	}
	home = "/"
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 7 {
			continue
		}
		u, isUser := id(f[2])
		g, isGroup := id(f[3])
		if isUser && isGroup && (f[0] == name || numeric && u == uid) {
			name, uid, gid, known = f[0], u, g, true
			if strings.HasPrefix(f[5], "/") {
				home = f[5]
			}
			break
		}
	}
	if !known && !numeric {
		return 0, 0, nil, "", fmt.Errorf("USER %s: /etc/passwd of the image has no such user", said)
	}
	all, err := t.read("/etc/group")
	if err != nil {
		return 0, 0, nil, "", err
	}
	wanted, isNumber := id(group)
	found := isNumber
	for line := range strings.Lines(all) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 {
			continue
		}
		g, ok := id(f[2])
		if !ok {
			continue
		}
		if hasGroup && f[0] == group && !isNumber {
			wanted, found = g, true
		}
		if known && !hasGroup && g != gid && len(groups) < 1000 && slices.Contains(strings.Split(f[3], ","), name) {
			groups = append(groups, g)
		}
	}
	if hasGroup {
		if !found {
			return 0, 0, nil, "", fmt.Errorf("USER %s: /etc/group of the image has no such group", said)
		}
		gid = wanted
	}
	return uid, gid, groups, home, nil
}

// id parses the number of a user or group.
func id(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err == nil && n < math.MaxInt32
}
