package confine

import "testing"

func TestMount_AGroupIsFoundBelowWhatTheMountShows(t *testing.T) {
	for line, want := range map[string]string{
		"31 23 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory":                    "/sys/fs/cgroup/memory/docker/abc",
		"31 23 0:28 /docker/abc /sys/fs/cgroup/memory ro shared:1 master:2 - cgroup cgroup rw,memory": "/sys/fs/cgroup/memory",
		"31 23 0:28 /docker /a\\040b rw - cgroup2 cgroup2 rw,nsdelegate":                              "/a b/abc",
		"31 23 0:28 /elsewhere /sys/fs/cgroup rw - cgroup2 none rw":                                   "/sys/fs/cgroup/docker/abc",
		"31 23 0:28 / /proc rw - proc proc rw":                                                        "",
		"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw":                                             "",
		"no mount": "",
	} {
		m, ok := parseMount(line)
		if ok != (want != "") {
			t.Errorf("%s: %v", line, ok)
		}
		if got := m.below("/docker/abc"); ok && got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
