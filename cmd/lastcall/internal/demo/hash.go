package demo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
)

// hashEntry writes the line of one regular file.
func hashEntry(ctx context.Context, w *part, e entry) (err error) {
	if !e.mode.IsRegular() {
		return nil
	}
	f, _, err := openRegular(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, reader{ctx, f, e.pace}); err != nil {
		return err
	}
	_, err = io.WriteString(w, sumLine(h.Sum(nil), e.path))
	return err
}

// sumLine returns the line that sha256sum prints. A name with a backslash or a line break is
// escaped, and a backslash at the start of the line shows that.
func sumLine(sum []byte, name string) string {
	escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
	mark := ""
	if escaped != name {
		mark = `\`
	}
	return fmt.Sprintf("%s%x  %s\n", mark, sum, escaped)
}
