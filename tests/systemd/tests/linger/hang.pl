# A file system that never answers: hang.pl DIRECTORY. Who asks for a file in it cannot be ended, not
# even by SIGKILL, until this program ends.
use strict;
use warnings;
use Fcntl;

my ($place) = @ARGV;
# Inherited by mount(8).
$^F = 255;
sysopen(my $fuse, "/dev/fuse", O_RDWR) or die "/dev/fuse: $!";
my $fd = fileno $fuse;
my $options = "fd=$fd,rootmode=40000,user_id=0,group_id=0,allow_other";
system("mount", "-i", "-t", "fuse", "-o", $options, "hang", $place) == 0 or die "no mount";
while (sysread($fuse, my $request, 1 << 17)) {
    my (undef, $opcode, $unique) = unpack "L L Q", $request;
    # FUSE_LOOKUP: somebody waits from here on.
    note("asked") if $opcode == 1;
    # FUSE_INIT, of protocol 7.31: the kernel asks for it once.
    if ($opcode == 26) {
        my $answer = pack "L L L L S S L L S S L7", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, (0) x 7;
        syswrite $fuse, pack("L l Q", 16 + length $answer, 0, $unique) . $answer;
        note("ready");
    }
}

sub note {
    open(my $file, ">", "/run/hang-$_[0]") or die;
    close $file;
}
