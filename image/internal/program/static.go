package program

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// CheckContainer refuses a program that does not run in an image without a C library.
func (p Program) CheckContainer() error {
	if p.Platform.OS != "linux" {
		return fmt.Errorf("binary for %s: an image needs one for linux", p.Platform)
	}
	if _, err := Static(p.Content); err != nil {
		return fmt.Errorf("binary for %s: %w", p.Platform, err)
	}
	return nil
}

// Static says which platform an ELF program is for, and refuses one that needs a dynamic loader. Even with CGO_ENABLED=0 a
// position-independent program does.
func Static(content []byte) (Platform, error) {
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return Platform{}, fmt.Errorf("is not an ELF program: %w", err)
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			return Platform{}, errors.New("is linked dynamically, and the image has no loader: build it with make")
		}
	}
	machines := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x"}
	architecture, known := machines[file.Machine]
	if !known {
		return Platform{}, fmt.Errorf("is for the machine %s, and jobgate has no image for it", file.Machine)
	}
	return Platform{OS: "linux", Architecture: architecture}, nil
}
