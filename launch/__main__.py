"""`python -m launch` is `temper`: what torchrun, deepspeed and accelerate start."""

from launch.cli import main

if __name__ == "__main__":
    main()
