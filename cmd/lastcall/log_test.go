package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestALogIsJSONWhereNobodyWatches(t *testing.T) {
	for format, want := range map[string]string{logAuto: `"msg":"said"`, "": `"msg":"said"`, logJSON: `"msg":"said"`, logText: "msg=said"} {
		var b bytes.Buffer
		if newLog(&b, format).Info("said"); !strings.Contains(b.String(), want) {
			t.Errorf("%q: %s", format, &b)
		}
	}
}
