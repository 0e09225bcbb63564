package rehearse

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// manyIDs is how many users, and how many groups, of an image have ids of their own. One more id is
// for a user or a group of the program that is above them all.
const (
	manyIDs  = ImageOwners - 1
	nobodyID = 65534
)

// ImageOwner returns the owner that a file below an image's Root must have on this machine if it
// belongs to a user or group of the image, so that the program finds the file as its own. If ok is
// false the file keeps the owner that created it: without the right to give files away there is one
// user in the image.
func ImageOwner(id int) (owner int, ok bool) {
	if !manyOwners() {
		return 0, false
	}
	if id < 0 || id >= manyIDs {
		id = nobodyID
	}
	return FirstImageOwner + id, true
}

// manyOwners reports whether this process may give an image's users and groups ids of their own.
func manyOwners() bool {
	return os.Geteuid() == 0 && hasIDs("/proc/self/uid_map") && hasIDs("/proc/self/gid_map")
}

// hasIDs reports whether a user namespace has the ids for images.
func hasIDs(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		var inside, outside, size int
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err == nil && inside <= FirstImageOwner && FirstImageOwner+ImageOwners <= inside+size {
			return true
		}
	}
	return false
}

// mapOwners maps the users and groups of the image for a process that begins in a user namespace,
// in which it has all rights.
func (i *Image) mapOwners(attr *syscall.SysProcAttr) {
	attr.AmbientCaps = append([]uintptr{capSysAdmin, capSysResource}, kept...)
	if !manyOwners() {
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: i.User, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: i.Group, HostID: os.Getegid(), Size: 1}}
		return
	}
	many := func(id int) []syscall.SysProcIDMap {
		all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: FirstImageOwner, Size: manyIDs}}
		if id >= manyIDs { // for Kubernetes distributions that give each project its own ids
			all = append(all, syscall.SysProcIDMap{ContainerID: id, HostID: FirstImageOwner + manyIDs, Size: 1})
		}
		return all
	}
	attr.UidMappings, attr.GidMappings = many(i.User), many(i.highGroup())
	attr.GidMappingsEnableSetgroups = true
}

// highGroup returns the one group above all others that exists in the image, 0 if there is none.
func (i *Image) highGroup() int {
	for _, id := range append([]int{i.Group}, i.Groups...) {
		if id >= manyIDs {
			return id
		}
	}
	return 0
}

// existing returns the supplementary groups that exist.
func (i *Image) existing() []int {
	high := i.highGroup()
	return slices.DeleteFunc(slices.Clone(i.Groups), func(id int) bool { return id >= manyIDs && id != high })
}

// maxWritten bounds what an image's program can write into its files, which is kept in memory.
const maxWritten = "size=1g,nr_inodes=1m,mode=0755"

// enterImage makes the image's files the only ones that exist, and drops all rights but those of
// the image's user.
func (e *entry) enterImage() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("%sthis is process %d of its PID namespace, not the first one", namespaceWord, os.Getpid())
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"a host name of its own", func() error { return syscall.Sethostname([]byte(hostName)) }},
		{"mounts of its own", func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") }},
		{"the image's files", e.enterRoot},
		{"the working directory", e.workIn},
		{"give up rights", e.giveUp},
	} {
		err := step.do()
		switch fault := new(imageError); {
		case errors.As(err, fault):
			return fmt.Errorf("in the image: %s: %w", step.what, err)
		case err != nil:
			return fmt.Errorf("%s%s: %w", namespaceWord, step.what, err)
		}
	}
	return nil
}

const hostName = "rehearsal"

// imageError is an error that is due to what the image has, and not to this machine.
type imageError struct{ error }

func (f imageError) Unwrap() error { return f.error }

// inImage makes an error, if there is one, a fault of the image.
func inImage(err error) error {
	if err == nil {
		return nil
	}
	return imageError{err}
}

// enterRoot makes the image's files the root of this process.
func (e *entry) enterRoot() error {
	image, err := e.openImage()
	if err != nil {
		return err
	}
	root, err := mountRoot(image)
	if err != nil {
		return err
	}
	devices := map[string]int{}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		fd, err := syscall.Open("/dev/"+name, oPath|syscall.O_CLOEXEC, 0)
		if err != nil && name != "tty" {
			return fmt.Errorf("/dev/%s: %w", name, err)
		}
		if err == nil {
			devices[name] = fd
		}
	}
	old, err := syscall.Open("/", syscall.O_DIRECTORY|syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Chdir(root), syscall.PivotRoot(".", ".")); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	// The old root is mounted over the new one now, and its contents can still be mounted. Until it is
	// gone, a link of the image to /.. leads to it: nothing follows one.
	if err := mountSystem(devices); err != nil {
		return err
	}
	for _, fd := range devices {
		_ = syscall.Close(fd) // only a reference
	}
	if err := errors.Join(syscall.Fchdir(old), syscall.Unmount(".", syscall.MNT_DETACH), syscall.Close(old), syscall.Close(image), syscall.Chdir("/")); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := inImage(e.writeHosts()); err != nil {
		return err
	}
	// A namespace within this one would have all rights over it.
	err = os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("refuse user namespaces: %w", err)
	}
	return nil
}

// openImage opens the directory of the image's files with the rights of the user who has started
// this process, and becomes the image's root if it has one.
func (e *entry) openImage() (int, error) {
	fd, err := syscall.Open(e.Image.Root, oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil || !e.Owners {
		return fd, err
	}
	return fd, errors.Join(syscall.Setgroups(nil), syscall.Setgid(0), syscall.Setuid(0))
}

// mountRoot mounts the image's files, with a layer above them for what the program writes, and
// returns the mount point. The files themselves do not change.
func mountRoot(image int) (string, error) {
	var stat syscall.Stat_t
	if err := syscall.Fstat(image, &stat); err != nil {
		return "", err
	}
	at, err := emptyMount()
	if err != nil {
		return "", err
	}
	root, upper, work := at+"/root", at+"/upper", at+"/work"
	if err := errors.Join(os.Mkdir(root, 0o755), os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755)); err != nil {
		return "", err
	}
	if err := errors.Join(os.Chown(upper, int(stat.Uid), int(stat.Gid)), syscall.Chmod(upper, stat.Mode&0o7777)); err != nil {
		return "", err
	}
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV
	options := "lowerdir=/proc/self/fd/" + strconv.Itoa(image) + ",upperdir=" + upper + ",workdir=" + work + ",userxattr"
	if err := syscall.Mount("overlay", root, "overlay", flags, options); err != nil {
		return "", fmt.Errorf("mount the image's files with a layer above them: %w: that needs Linux 5.11 or newer with overlayfs", err)
	}
	return root, nil
}

// emptyMount mounts an empty file system over some directory.
func emptyMount() (at string, err error) {
	for _, at = range []string{"/tmp", "/run", "/mnt", "/sys", "/var"} {
		if err = syscall.Mount("tmpfs", at, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, maxWritten); err == nil {
			return at, nil
		}
	}
	return "", fmt.Errorf("mount a tmpfs: %w", err)
}

// writeHosts writes the files that resolve host names, since the network is this machine's.
func (e *entry) writeHosts() error {
	for name, text := range e.Hosts {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// mountSystem mounts what every container has below /proc and /dev.
func mountSystem(devices map[string]int) error {
	for _, dir := range []string{"/proc", "/dev"} {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if info, err := os.Lstat(dir); err != nil {
			return err
		} else if !info.IsDir() {
			return inImage(fmt.Errorf("%s is no directory", dir))
		}
	}
	if err := mountProc(); err != nil {
		return err
	}
	const flags = syscall.MS_NOSUID | syscall.MS_NOEXEC
	if err := syscall.Mount("tmpfs", "/dev", "tmpfs", syscall.MS_NOSUID, "size=64k,mode=0755"); err != nil {
		return err
	}
	for name, fd := range devices {
		if err := os.WriteFile("/dev/"+name, nil, 0o644); err != nil {
			return err
		}
		if err := syscall.Mount("/proc/self/fd/"+strconv.Itoa(fd), "/dev/"+name, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("/dev/%s: %w", name, err)
		}
	}
	for _, m := range []struct{ dir, kind, options string }{
		{"/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620"},
		{"/dev/shm", "tmpfs", "size=64m,mode=1777"},
		{"/dev/mqueue", "mqueue", ""},
	} {
		if err := os.Mkdir(m.dir, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(m.kind, m.dir, m.kind, flags|syscall.MS_NODEV, m.options); err != nil && m.kind != "mqueue" {
			return fmt.Errorf("%s: %w", m.dir, err)
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(to, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

const oPath = 0x200000 // of open(2)

// workIn changes to the working directory. If it does not exist it is created, as a container
// runtime does.
func (e *entry) workIn() error {
	dir := filepath.Join("/", e.Dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return inImage(err)
	}
	syscall.Umask(0o022)
	return inImage(syscall.Chdir(dir))
}
