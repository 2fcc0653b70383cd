
c
ImmutableConstImmutableConst*
shape:*
dtype0*#
memory_region_name/etc/passwd"ª