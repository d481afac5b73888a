# Only in trees of lab 7: the tests of the ladder put the kernel's checks of itself off while they count.
LAB_INCLUDE := -include labs/7-linux/checks.h
# Instructions are what counts here, so the compiler does what it can.
LAB_PLAIN :=
