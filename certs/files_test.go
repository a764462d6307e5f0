package certs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/certs"
)

// renewEnv has the test program renew in the directory it names until it is killed, a line for each renewal; limitEnv
// bounds the bytes of a file that it writes.
const (
	renewEnv = "JOBGATE_TEST_RENEW"
	limitEnv = "JOBGATE_TEST_LIMIT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(renewEnv); dir != "" {
		renewForEver(dir)
	}
	goleak.VerifyTestMain(m)
}

func renewForEver(dir string) {
	if limit, err := strconv.ParseUint(os.Getenv(limitEnv), 10, 64); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
	}
	for p := certs.OpenPKI(dir); ; {
		if _, err := p.Renew(true); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("renewed")
	}
}

func TestPKI_ProcessKilledWhileItWrites(t *testing.T) {
	p := issued(t, certs.Request{})
	const kills = 20
	for range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), renewEnv+"="+p.Dir())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It is somewhere in its second renewal by the time this has read of the first.
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "renewed\n" {
			t.Errorf("it said %q, %v", line, err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed

		s := snap(t, p)
		if err := handshake(t, first(s.bothEnds(t)), second(s.bothEnds(t))); err != nil {
			t.Fatalf("the two ends do not connect: %v", err)
		}
		must[[]certs.Renewal](t)(p.Renew(false))
		for file := range snap(t, p) {
			if strings.HasPrefix(file, ".") {
				t.Errorf("%s was left behind", file)
			}
		}
	}
}

func TestPKI_UnfinishedFilesAreIgnoredAndRemoved(t *testing.T) {
	p := issued(t, certs.Request{})
	before := snap(t, p)
	stray := filepath.Join(p.Dir(), "."+certs.ServingFile+".123.tmp")
	if err := os.WriteFile(stray, []byte(before[certs.ServingFile][:100]), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, operation := range map[string]func() error{
		"Renew":    func() error { _, err := p.Renew(false); return err },
		"Issue":    func() error { _, err := p.Issue(certs.Request{}); return err },
		"RotateCA": func() error { _, err := p.RotateCA(nil); return err },
	} {
		if err := os.WriteFile(stray, []byte(before[certs.ServingFile][:100]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := operation(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(stray); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s has left the unfinished file: %v", name, err)
		}
	}
	if after := snap(t, p); after[certs.ServingFile] != before[certs.ServingFile] {
		t.Error("the certificate has changed")
	}
}

func TestPKI_FailedWriteLeavesTheOldFileAndNothingElse(t *testing.T) {
	p := issued(t, certs.Request{})
	before := snap(t, p)
	// A process that may write 100 bytes a file meets what a full disk is to others, in the middle of a file.
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), renewEnv+"="+p.Dir(), limitEnv+"=100")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), filepath.Join(p.Dir(), certs.ServingFile)) {
		t.Errorf("it ended with %v and said %q", err, out)
	}
	if !snap(t, p).equal(before) {
		t.Error("files have changed, or were left behind")
	}
}

func TestPKI_WritersTakeTurns(t *testing.T) {
	p := issued(t, certs.Request{})
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			if _, err := certs.OpenPKI(p.Dir()).RotateCA(new(time.Duration)); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	s := snap(t, p)
	if err := handshake(t, first(s.bothEnds(t)), second(s.bothEnds(t))); err != nil || len(s.bundle(t)) != 1 || len(s) != 4 {
		t.Errorf("after 8 rotations: %v; %d CAs, %d files", err, len(s.bundle(t)), len(s))
	}
}

// Root gives the files to jobgate's user, as init does. Any other user can give files only to themselves.
func TestIssue_OwnerIsTheOneAskedFor(t *testing.T) {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 65532, 65533
	}
	p := issued(t, certs.Request{UID: &uid, GID: &gid})
	check := func(when string) {
		t.Helper()
		for _, file := range []string{".", certs.CAFile, certs.SigningFile, certs.ServingFile, certs.ClientFile} {
			s := must[fs.FileInfo](t)(os.Stat(filepath.Join(p.Dir(), file))).Sys().(*syscall.Stat_t)
			if int(s.Uid) != uid || int(s.Gid) != gid {
				t.Errorf("%s, %s belongs to %d:%d, want %d:%d", when, file, s.Uid, s.Gid, uid, gid)
			}
		}
	}
	check("issued")
	chmod(t, p, certs.ClientFile, 0o640)
	must[[]certs.Renewal](t)(p.Renew(true))
	check("renewed")
	if got := modeOf(t, filepath.Join(p.Dir(), certs.ClientFile)); got != 0o640 {
		t.Errorf("mode of a renewed certificate that its group may read is %04o", got)
	}
	must[certs.Rotation](t)(p.RotateCA(new(time.Duration)))
	check("rotated")

	if err := os.Chown(filepath.Join(p.Dir(), certs.ClientFile), os.Getuid(), os.Getgid()); err != nil {
		t.Fatal(err)
	}
	must[[]certs.Change](t)(p.Issue(certs.Request{UID: &uid, GID: &gid}))
	check("issued again")
}
