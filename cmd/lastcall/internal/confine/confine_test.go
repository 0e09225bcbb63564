package confine

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParseMemory_ReadsWhatKubernetesWrites(t *testing.T) {
	for text, want := range map[string]int64{"256Mi": 256 << 20, "1.5Gi": 3 << 29, "1G": 1e9, "2000k": 2e6, "2Ti": 2 << 40, "1048576": 1 << 20, "4096Ki": 4 << 20, "300M": 300e6} {
		if got, err := ParseMemory(text); got != want || err != nil {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "no amount", "Mi": "no amount", "-1Mi": "no amount", "1e9": "no amount", "256MB": "no amount", "256mi": "no amount", "Inf": "no amount", "1.2.3Gi": "no amount",
		"0": "less than 1Mi", "512Ki": "less than 1Mi", "256m": "no amount", "9999999Ti": "more memory than", strings.Repeat("9", 400): "no amount",
	} {
		if got, err := ParseMemory(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %d, %v, want %q", text, got, err, want)
		}
	}
}

func TestParseCPU_ReadsProcessorsAndThousandthsOfThem(t *testing.T) {
	for text, want := range map[string]int64{"500m": 500, "2": 2000, "0.5": 500, "10m": 10} {
		if got, err := ParseCPU(text); got != want || err != nil {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"": "no number", "m": "no number", "two": "no number", "-1": "no number", "0": "less than 10m", "9m": "less than 10m", "1e3": "no number", "5000": "a thousand processors"} {
		if got, err := ParseCPU(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %d, %v, want %q", text, got, err, want)
		}
	}
}

func TestUser_IsANameANumberOrANumberWithAGroup(t *testing.T) {
	root, err := lookUp("root")
	if err != nil || root.UID != 0 || root.GID != 0 || root.Name != "root" || root.Home == "" {
		t.Fatalf("%+v, %v", root, err)
	}
	if u, err := lookUp("0"); err != nil || u.UID != 0 || u.Home != root.Home {
		t.Errorf("%+v, %v", u, err)
	}
	if u, err := lookUp("0:7"); err != nil || u.UID != 0 || u.GID != 7 || u.Groups != nil {
		t.Errorf("%+v, %v", u, err)
	}
	if u, err := lookUp("23456:4294967294"); err != nil || u.UID != 23456 || u.GID != 4294967294 || u.Name != "" || u.Home != "" {
		t.Errorf("%+v, %v", u, err)
	}
	for text, want := range map[string]string{
		"":                "knows no user \"\"",
		"23456":           "knows no user 23456, and so no group: write 23456:GID",
		"nobody-has-this": "knows no user \"nobody-has-this\"",
		"root:root":       "is no number: write a name alone, or UID:GID",
		"1:root":          "is no group's number",
		"1:":              "is no group's number",
		"-1:1":            "is no number",
		"4294967295:1":    "is larger than any user's number",
		"99999999999":     "is larger than any user's number",
		"1:4294967295":    "is no group's number",
	} {
		if u, err := lookUp(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", text, u, err, want)
		}
	}
}

func TestUser_CanEnterWhatItsOwnRightsAllowAndNoOther(t *testing.T) {
	u := &User{UID: 5, GID: 6, Groups: []uint32{7}}
	for _, c := range []struct {
		mode     os.FileMode
		uid, gid uint32
		want     bool
	}{
		{0o711, 0, 0, true}, {0o700, 0, 0, false}, {0o700, 5, 0, true}, {0o011, 5, 0, false}, {0o710, 0, 6, true}, {0o710, 0, 7, true}, {0o701, 0, 7, false},
	} {
		if got := u.CanEnter(c.mode, c.uid, c.gid); got != c.want {
			t.Errorf("%o of %d:%d: %v", c.mode, c.uid, c.gid, got)
		}
	}
	if root := (&User{}); !root.CanEnter(0, 5, 5) {
		t.Error("root is kept out")
	}
}

func TestLimits_NeedTheControllersThatTheyName(t *testing.T) {
	if got := (Limits{Memory: 1, PIDs: 1}).controllers(); !slices.Equal(got, []string{"memory", "pids"}) {
		t.Errorf("%q", got)
	}
}
